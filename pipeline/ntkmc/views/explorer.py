"""Server of the explorer, the app in `dashboards/`, on the loopback interface."""

from __future__ import annotations

import importlib.util
import socket
import sys
from typing import Any

from ntkmc.errors import InputError
from ntkmc.experiment.store import open_results
from ntkmc.shipped_files import find_shared


def serve(store: str, port: int = 5006, browser: bool = True, app: str = "explorer") -> None:
    """Serve the explorer of a store until interrupted.

    Parameters
    ----------
    store : str
        Folder or URL of the store, which may still be written.
    port : int
        Port on the loopback interface, since the app has no login. 0: any free port.
    browser : bool
        Whether to open a browser.
    app : str
        File in `dashboards/`, or path of another file, with a function `app(store)`.

    Raises
    ------
    InputError
        If Panel is not installed, or the port is taken.
    StoreError
        If there is no store.
    """
    try:
        import panel
    except ImportError as error:
        raise InputError("the explorer needs Panel, which is not installed: pip install 'ntkmc[dashboard]'") from error
    # A missing store is an error of the command, not of a page.
    open_results(store)
    port = _free_port(port)
    page = load_app(app)
    link = f"http://127.0.0.1:{port}/explorer"
    print(
        f"explorer of {store} at {link} (Ctrl-C ends it); from another machine: ssh -L {port}:127.0.0.1:{port} ...",
        flush=True,
    )
    panel.serve(
        {"explorer": lambda: page(store)}, port=port, address="127.0.0.1", show=browser, title="ntkmc explorer",
        verbose=False, websocket_origin=[f"127.0.0.1:{port}", f"localhost:{port}"],
    )  # fmt: skip


def load_app(name: str) -> Any:
    """Return the function `app(store)` of a file in `dashboards/`, or of a file of the user.

    Raises
    ------
    InputError
        If there is no such file, or no such function in it.
    """
    path = find_shared("dashboards", name, ".py").resolve()
    spec = importlib.util.spec_from_file_location("ntkmc_explorer", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    # The app may import other files of its folder.
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    if not hasattr(module, "app"):
        raise InputError(f"{path}: has no function app(store)")
    return module.app


def _free_port(port: int) -> int:
    """Return the port, or any free one for 0; InputError if it is taken."""
    with socket.socket() as probe:
        # As the server does: a port whose connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(f"port {port} is taken; choose another with --port, or 0 for any free one") from error
        return int(probe.getsockname()[1])
