"""The command line as a user meets it: output, exit codes, one-line errors."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from calling import called
from ntkmc import run as run_study
from ntkmc.experiment.study.loading import parse_study
from ntkmc.theory.claims import CLAIMS

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ntkmc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """`ntkmc arguments ...` in this process: (exit code, standard output, standard error)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = called(monkeypatch, *arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Path:
    from conftest import SMALL

    path = tmp_path_factory.mktemp("store") / "small.zarr"
    run_study(parse_study(SMALL, trusted=True), path, client=client, progress=False)
    return path


def write(path: Path, data: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(data))
    return path


def assert_refused(answer: tuple[int, str, str], said: str) -> None:
    code, out, err = answer
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("ntkmc: ")
    assert said in err


@pytest.mark.long
def test_run_from_nothing(tmp_path: Path, small: dict[str, Any]) -> None:
    """The real thing: a process of its own, worker processes, a second run that resumes."""
    write(tmp_path / "study.yaml", small)
    command = [sys.executable, "-m", "ntkmc", "run", "study.yaml"]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert "P(λ_min ≥ λ_0), 60 trials per cell" in first.stdout
    assert "det-pair-upper" in first.stdout
    assert "results in data/results/small.zarr" in first.stdout
    assert "Dask dashboard at http://127.0.0.1:" in first.stderr
    assert "Traceback" not in first.stderr
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert second.returncode == 0
    assert "720 of 720 trials are done" in second.stderr
    assert first.stdout == second.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sed": 3}, "sed: unknown key, did you mean 'seed'"),
        (
            {"grid": {"distribution": "sphere", "d": 3, "n": 0}},
            "grid.n[0]: should be greater than or equal to 1, got 0",
        ),
        ({"grid": {"distribution": "sphere", "d": 3, "n": 2, "depth": 0}}, "grid.depth[0]: should be greater"),
        ({"grid": {"distribution": "spere", "d": 3, "n": 2}}, "did you mean 'sphere'"),
        ({"grid": {"distribution": {"student-t": {"df": -3}}, "d": 3, "n": 2}}, "df must be a positive number"),
        ({"grid": {"distribution": {"dataset": {"path": "nan.npy"}}, "d": 2, "n": 2}}, "row 1, column 0 is nan"),
        (
            {"grid": {"distribution": {"dataset": {"path": "few.npy"}}, "d": 2, "n": 4}},
            "has 3 rows: n must be at most 3",
        ),
        ({"grid": {"distribution": {"dataset": {"path": "no.npy"}}, "d": 2, "n": 4}}, "no such file"),
    ],
)
def test_bad_studies(ntkmc: Call, tmp_path: Path, small: dict[str, Any], change: dict[str, Any], said: str) -> None:
    rows = np.ones((3, 2))
    np.save(tmp_path / "few.npy", rows)
    rows[1, 0] = np.nan
    np.save(tmp_path / "nan.npy", rows)
    path = write(tmp_path / "study.yaml", small | change)
    for verb in ("run", "plan"):
        assert_refused(ntkmc(verb, path), said)
    assert not (tmp_path / "data").exists()


def test_not_yaml_and_missing(ntkmc: Call, tmp_path: Path) -> None:
    (tmp_path / "torn.yaml").write_text("name: [")
    assert_refused(ntkmc("run", tmp_path / "torn.yaml"), "line 1, column 8: not YAML")
    assert_refused(ntkmc("run", tmp_path / "none.yaml"), "no such file")


@pytest.mark.long
def test_unwritable_store(ntkmc: Call, tmp_path: Path, small: dict[str, Any]) -> None:
    study = write(tmp_path / "study.yaml", small)
    (tmp_path / "file").write_text("in the way")
    assert_refused(ntkmc("run", study, "--store", tmp_path / "file" / "s.zarr"), "cannot be written")
    assert_refused(ntkmc("run", study, "--store", "/proc/s.zarr"), "cannot be written")
    assert_refused(ntkmc("run", study, "--store", tmp_path / "file"), "is not an ntkmc store")


def test_another_study_is_refused(ntkmc: Call, store: Path, tmp_path: Path, small: dict[str, Any]) -> None:
    study = write(tmp_path / "study.yaml", small | {"seed": 8})
    assert_refused(ntkmc("run", study, "--store", store), "seed is 7 there and 8 here")


def test_unknown_profile(ntkmc: Call, tmp_path: Path, small: dict[str, Any]) -> None:
    assert_refused(
        ntkmc("run", write(tmp_path / "s.yaml", small), "--profile", "slrum"), "no cluster file named 'slrum'"
    )


def test_usage_errors(ntkmc: Call) -> None:
    assert_refused(ntkmc("rnu"), "No such command 'rnu'")
    assert_refused(ntkmc("run"), "Missing argument 'STUDY'")
    assert_refused(ntkmc("show", "x", "--format", "xml"), "--format")


def test_plan(ntkmc: Call, tmp_path: Path, small: dict[str, Any]) -> None:
    code, out, _ = ntkmc("plan", write(tmp_path / "s.yaml", small))
    assert code == 0
    for word in ("cells   12", "trials  720", "core-hours", "MiB per worker", "before compression"):
        assert word in out
    assert "none of which needs additional eigenvalue problems" in out
    named = small | {"claims": ["det-determinant", "det-pair-upper"]}
    _, out, _ = ntkmc("plan", write(tmp_path / "named.yaml", named))
    assert "of which 1 need" in out
    assert out.rstrip().endswith("det-determinant")
    large = small | {"grid": {"distribution": "sphere", "d": 4, "n": 400_000}}
    code, out, err = ntkmc("plan", write(tmp_path / "l.yaml", large))
    assert code == 2
    assert "lower n below" in err


def test_show(ntkmc: Call, store: Path) -> None:
    code, out, _ = ntkmc("show", store)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "student-t(df=3)" in out
    code, out, _ = ntkmc("show", store, "distribution=student-t,d=5,depth=3", "--long")
    assert code == 0
    assert out.count("student-t(df=3)") == 4
    assert "sphere" not in out
    code, out, _ = ntkmc("show", store, "--claims")
    assert "det-tail-gershgorin-deep" in out
    assert max(map(len, out.splitlines())) <= 80
    code, out, _ = ntkmc("show", store, "claim=det-pair-upper,d=5,n=4", "--claims")
    assert out.count("holds") == 6


def test_show_predictions(ntkmc: Call, store: Path, tmp_path: Path) -> None:
    """Each prediction stands beside the median of all trials, and on the figure."""
    from ntkmc import open_results
    from ntkmc.theory.kernels.gegenbauer import effective_ridge

    code, out, _ = ntkmc("show", store, "--predictions")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "El Karoui" in out or "elkaroui" in out
    _, out, _ = ntkmc("show", store, "--predictions", "--format", "json", "quantity=lambda_min")
    rows = json.loads(out)
    trials = open_results(store)["trials"].to_dataset().load()
    ridge = [row for row in rows if row["predictor"] == "pred-effective-ridge"]
    assert ridge
    for row in ridge:
        here = trials["lambda_min"].sel({name: row[name] for name in ("distribution", "d", "n", "depth")})
        assert row["median"] == pytest.approx(float(here.median()), rel=1e-9)
        assert row["predicted"] == pytest.approx(effective_ridge("ntk", row["depth"], row["n"], row["d"]), rel=1e-9)
        assert row["ratio"] == pytest.approx(row["predicted"] / row["median"], rel=1e-9)
    code, _, _ = ntkmc("show", store, "--figure", tmp_path / "overlaid.svg")
    assert code == 0
    assert_refused(ntkmc("show", store, "--claims", "--predictions"), "choose one")


def test_show_machine_formats(ntkmc: Call, store: Path) -> None:
    """CSV and JSON hold what the store holds, to the last digit."""
    from ntkmc import open_results

    _, out, _ = ntkmc("show", store, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 12 * 2 * 2
    estimates = open_results(store)["estimates"].to_dataset().load()
    for row in rows:
        cell = {
            "distribution": row["distribution"],
            "d": int(row["d"]),
            "n": int(row["n"]),
            "depth": int(row["depth"]),
        }
        here = estimates.sel(cell).sel(lambda_0=float(row["lambda_0"]))
        assert float(row["probability"]) == float(here["probability"])
        assert float(row["lower"]) == float(here["probability_lower"])
        assert float(row["certified"]) == float(here["lambda_0_certified"])
    _, out, _ = ntkmc("show", store, "--format", "json")
    for row, entry in zip(rows, json.loads(out), strict=True):
        assert (float(row["probability"]), float(row["lower"])) == (entry["probability"], entry["lower"])
    _, out, _ = ntkmc("show", store, "--format", "json", "--claims")
    assert {entry["verdict"] for entry in json.loads(out)} >= {"holds", "not-applicable"}


def test_show_refusals(ntkmc: Call, store: Path, tmp_path: Path) -> None:
    assert_refused(ntkmc("show", tmp_path / "none"), "no such store")
    assert_refused(ntkmc("show", tmp_path), "is not an ntkmc store")
    assert_refused(ntkmc("show", store, "d=99"), "nothing has d=99; present: 5, 8")
    assert_refused(ntkmc("show", store, "dd=5"), "did you mean 'd'")
    assert_refused(ntkmc("show", store, "d"), "a selection is written like")
    assert_refused(ntkmc("show", store, "d=five"), "d is a number, got 'five'")


def test_figure(ntkmc: Call, store: Path, tmp_path: Path) -> None:
    for ending in ("png", "pdf", "svg"):
        code, _, err = ntkmc("show", store, "--figure", tmp_path / f"figures/f.{ending}")
        assert code == 0, err
        assert (tmp_path / f"figures/f.{ending}").stat().st_size > 5000
    code, _, err = ntkmc("show", store, "--figure", tmp_path / "f.docx")
    assert code == 2
    assert "use .png, .pdf or .svg" in err


def test_claims(ntkmc: Call) -> None:
    code, out, _ = ntkmc("claims")
    assert code == 0
    assert len(out.splitlines()) == len(CLAIMS) > 40
    code, out, _ = ntkmc("claims", "det-khatri-rao-gershgorin[r=4]")
    assert "Nguyen, Mondelli" in out
    assert "r=2, r=4, r=6" in out
    assert_refused(ntkmc("claims", "det-pair"), "did you mean 'det-pair-upper' or")
    for claim, said in (
        ("claim-lipschitz-concentration", "an exponent above 0.1 in d"),
        ("claim-lipschitz-concentration", "to a power above 1.15"),
        ("law-isotropic", "Refuted where its lower limit is above 1;"),
        ("claim-coherence-sphere", "A ceiling is proved"),
        ("claim-nmm-theorem", "Refuted by a decay with an exponent above 0.1 in d"),
        ("printed/claim-coherence-subgaussian", "growth with an exponent above 0.1 in n or d"),
        ("prob-sphere-pair", "margin of 0.1 times"),
    ):
        assert said in ntkmc("claims", claim)[1], claim


def test_trial(ntkmc: Call, store: Path) -> None:
    code, out, _ = ntkmc("trial", store, "student-t(df=3),d=8,n=4", 17)
    assert code == 0
    assert "all 30 values equal the store's, bit for bit" in out
    assert_refused(ntkmc("trial", store, "sphere,d=8,n=5", 0), "no cell 'sphere,d=8,n=5'")
    assert_refused(ntkmc("trial", store, "sphere,d=8,n=4", 60), "has trials up to 59")


def test_trial_that_differs(ntkmc: Call, store: Path, tmp_path: Path) -> None:
    """A value changed behind our back, checksum and all, is seen."""
    import shutil

    import zarr

    copy = tmp_path / "copy.zarr"
    shutil.copytree(store, copy)
    array = zarr.open_array(copy, path="trials/lambda_min", mode="r+")
    array[0, 0, 0, 0, 5] = np.nextafter(np.asarray(array[0, 0, 0, 0, 5]), 2.0)
    code, out, err = ntkmc("trial", copy, "sphere,d=5,n=4", 5)
    assert code == 3
    assert "DIFFERS: stored" in out
    assert "1 of 30 values differ" in err


@pytest.mark.long
def test_lambda_min(ntkmc: Call, tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.eye(4))
    code, out, _ = ntkmc("lambda-min", tmp_path / "X.npy", "--depth", 3, "--depth", 2)
    assert code == 0
    assert "L = 2: lambda_min = 1.68169011381" in out
    assert "proved: " in out
    code, out, _ = ntkmc("lambda-min", tmp_path / "X.npy", "--kernel", "h-infinity", "--format", "json")
    (record,) = json.loads(out)
    assert record["lower"] <= 0.5 <= record["upper"]
    code, out, _ = ntkmc("lambda-min", tmp_path / "X.npy", "--format", "csv")
    assert out.splitlines()[0] == "depth,lambda_min,lower,upper,status,method"
    for method in ("dense", "cholesky"):
        code, out, _ = ntkmc("lambda-min", tmp_path / "X.npy", "--method", method)
        assert code == 0
        assert "lambda_min = 1.68169011381" in out
    assert_refused(ntkmc("lambda-min", tmp_path / "X.npy", "--method", "magic"), "magic")
    assert_refused(ntkmc("lambda-min", tmp_path / "none.npy"), "no such file")
    assert_refused(ntkmc("lambda-min", tmp_path / "X.npy", "--kernel", "h-infinity", "--depth", 3), "depth must be 2")


def test_spectrum_and_labels(ntkmc: Call, tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.eye(4))
    np.save(tmp_path / "y.npy", np.ones(4))
    (tmp_path / "y.csv").write_text("label\n1\n1\n1\n1\n")
    for labels in ("y.npy", "y.csv"):
        code, out, _ = ntkmc(
            "lambda-min", tmp_path / "X.npy", "--kernel", "h-infinity", "--labels", tmp_path / labels, "-f", "json"
        )
        assert code == 0
        (record,) = json.loads(out)
        # K = I / 2: y'K**-1 y = 8, log det K = -4 log 2
        assert record["quadratic_form_0_lower"] <= 8.0 <= record["quadratic_form_0_upper"]
        assert record["log_det"] == pytest.approx(-4.0 * np.log(2.0))
        assert record["lambda_max"] == pytest.approx(0.5)
    code, out, _ = ntkmc("lambda-min", tmp_path / "X.npy", "--spectrum", "--depth", 2, "--depth", 3)
    assert code == 0
    assert out.count("lambda_max = ") == 2
    np.save(tmp_path / "twice.npy", np.ones((3, 2)))
    code, out, _ = ntkmc("lambda-min", tmp_path / "twice.npy", "--spectrum")
    assert "log_det: no bounds, lambda_min is not above" in out
    np.save(tmp_path / "short.npy", np.ones(3))
    assert_refused(ntkmc("lambda-min", tmp_path / "X.npy", "--labels", tmp_path / "short.npy"), "length 4")
    assert_refused(ntkmc("lambda-min", tmp_path / "X.npy", "--labels", tmp_path / "none.npy"), "no such file")


def test_help_and_version(ntkmc: Call) -> None:
    import ntkmc as package

    code, out, _ = ntkmc()
    assert code == 0
    assert "lambda-min" in out
    assert ntkmc("--version")[:2] == (0, f"ntkmc {package.__version__}\n")


def test_damage_is_one_line(ntkmc: Call, store: Path, tmp_path: Path) -> None:
    import shutil

    for name, verb in (("estimates/probability", ("show",)), ("trials/lambda_min", ("trial",))):
        path = tmp_path / name.replace("/", "-")
        shutil.copytree(store, path)
        for chunk in (path / name / "c").rglob("*"):
            if chunk.is_file():
                chunk.write_bytes(b"rot")
        arguments = ("sphere,d=5,n=4", 3) if verb == ("trial",) else ()
        assert_refused(ntkmc(*verb, path, *arguments), "running its study again mends")


def test_distributions(ntkmc: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_laws.py").write_text(
        "def f(n, d, rng):\n    return rng.standard_normal((1, d)).repeat(n, axis=0)\n"
    )
    code, out, _ = ntkmc("distributions")
    assert code == 0
    assert "student-t(df=3)                   mean 0, isotropic, norm scaling\n" in out
    assert "dataset                           distribution dataset needs path" in out
    code, out, _ = ntkmc("distributions", "{gaussian-ar1: {rho: 0.5}}", "-d", 4)
    assert code == 0
    assert "law                              gaussian-ar1(rho=0.5)\n" in out.replace("  gaussian", " gaussian")
    assert "K = 1.73205" in out
    code, out, _ = ntkmc("distributions", "{low-rank: {rank: 3}}", "--check")
    assert code == 0
    assert out.endswith("{low-rank: {rank: 3}} satisfies the interface at d = 8\n")
    said = {line.split("  ")[0]: line.split()[-1] for line in out.splitlines()[:-1]}
    assert (said["mean 0 (d = 8)"], said["isotropic (d = 8)"], said["norm 1 (d = 8)"]) == ("holds", "fails", "fails")
    code, out, _ = ntkmc("distributions", "my_laws:f", "--check")
    assert code == 0  # equal rows are a law: they are dependent, and nothing says that they are not
    assert_refused(ntkmc("distributions", "--check"), "--check needs a NAME")
    assert_refused(ntkmc("distributions", "{a: "), "is not YAML")
    assert_refused(ntkmc("distributions", "my_laws:g"), "has no 'g'")


def test_tables_by_name(ntkmc: Call, store: Path) -> None:
    """`--table` prints what the earlier flag printed; two tables at a time are refused."""
    for name in ("claims", "predictions"):
        assert ntkmc("show", store, "--table", name) == ntkmc("show", store, f"--{name}")
    code, _, error = ntkmc("show", store, "--table", "claims", "--widths")
    assert code == 2
    assert "one table at a time, got claims, widths" in error


def test_a_run_is_planned_once_and_warns_of_silent_thresholds(
    ntkmc: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ntkmc.execution import plan, profiles

    counts = {"plan": 0, "profile": 0}
    make_plan, load_profile = plan.make_plan, profiles.load_profile

    def count_plan(*arguments: Any) -> Any:
        counts["plan"] += 1
        return make_plan(*arguments)

    def count_profile(*arguments: Any) -> Any:
        counts["profile"] += 1
        return load_profile(*arguments)

    monkeypatch.setattr(plan, "make_plan", count_plan)
    monkeypatch.setattr(profiles, "load_profile", count_profile)
    study = tmp_path / "study.yaml"
    grid = {"distribution": "sphere", "d": 50, "n": 3, "depth": 2}
    event = {"lambda-0": [1e-6, 1.99], "delta": 0.1}
    document = {"name": "a", "seed": 1, "kernel": "ntk", "grid": grid, "trials": 3, "event": event}
    study.write_text(yaml.safe_dump(document))
    code, _, error = ntkmc("run", study, "--store", tmp_path / "s", "--profile", "threads")
    assert code == 0, error
    assert counts == {"plan": 1, "profile": 1}
    assert "every estimate is 0 or 1" in error
