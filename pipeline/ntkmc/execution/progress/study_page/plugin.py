"""Scheduler plugin that receives the messages of drivers, and serves the Study page and `study.json`.

`Client.register_plugin` installs it on a running scheduler, on any machine; the plugin then adds its page to the
dashboard. To have the page from the start, begin the scheduler with
`dask scheduler --preload ntkmc.execution.progress.study_page.plugin`.
"""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any, Final

from distributed import Scheduler, SchedulerPlugin
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler

from ntkmc.execution.progress.study_page.state import Message, Studies

if TYPE_CHECKING:
    from distributed import Client

    from ntkmc.execution.progress.study_page.page import Viewers

NAME: Final = "ntkmc-study"
OPERATION: Final = "ntkmc_study"


class StudyPlugin(SchedulerPlugin):
    """Scheduler plugin that keeps the state of studies, as their drivers report it."""

    idempotent = True
    name = NAME

    def __init__(self) -> None:
        self.studies = Studies()
        self.viewers: Viewers | None = None

    async def start(self, scheduler: Scheduler) -> None:
        """Add the page and the route to the scheduler's dashboard, if it has one."""
        # `Client.run_on_scheduler` needs no handler, but writes a line into the scheduler's log for every message.
        scheduler.handlers[OPERATION] = self.receive
        application = getattr(scheduler, "http_application", None)
        if application is None:
            return
        prefix = "/"
        # Without Bokeh's pages there is no dashboard to add a page to: the scheduler then serves `study.json` alone.
        bokeh = [served for served in application.applications if "bokeh" in type(served).__mro__[1].__module__]
        if bokeh:
            prefix = bokeh[0].prefix or "/"
            from ntkmc.execution.progress.study_page.page import add_page

            self.viewers = add_page(scheduler, self.studies, prefix, IOLoop.current())
        route = "/" + f"{prefix.strip('/')}/study.json".lstrip("/")
        application.add_handlers(".*$", [(route, StudyJSON, {"studies": self.studies})])

    def transition(self, key: Any, start: Any, finish: Any, *args: Any, **kwargs: Any) -> None:
        """Count the time of blocks, and errors. Dask calls it at every change of a task, so it must be cheap."""
        # Dask's step `compute` of a block includes writing it, unlike the seconds that the driver reports.
        if start == "processing" and type(key) is tuple and key[0] == "block":
            if finish == "memory":
                for step in kwargs.get("startstops") or ():
                    if step["action"] == "compute":
                        self.studies.busy += step["stop"] - step["start"]
            elif finish == "erred":
                self.studies.erred += 1

    def receive(self, run: str, pickled: bytes) -> bool:
        """Enter a driver's message; return whether the scheduler has a page to show it."""
        message: Message = pickle.loads(pickled)
        self.studies.update(run, message)
        return self.viewers is not None


def send(client: Client, run: str, message: Message) -> bool:
    """Send a driver's message to a client's scheduler; return whether that has a page to show it."""
    return bool(client.sync(getattr(client.scheduler, OPERATION), run=run, pickled=pickle.dumps(message)))


class StudyJSON(RequestHandler):
    """Handler of `study.json`: the latest study; `?cells` adds a row per cell."""

    def initialize(self, studies: Studies) -> None:
        """Keep the studies to be served."""
        self.studies = studies

    def get(self) -> None:
        """Answer with the state of the latest study; with an empty object before any study ran."""
        state = self.studies.latest
        document = {} if state is None else state.summary() | {"blocks_erred": self.studies.erred}
        if state is not None and self.get_query_arguments("cells"):
            document |= {"depths": state.depths, "thresholds": state.thresholds, "table": state.table()}
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(document))


def dask_setup(scheduler: Scheduler) -> None:
    """Add the plugin to a scheduler that is started with `--preload`; Dask calls it before the plugin's `start`."""
    scheduler.add_plugin(StudyPlugin(), name=NAME, idempotent=True)
