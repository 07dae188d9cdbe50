"""The scheduler's side: a plugin that keeps what drivers tell, a route that gives it as JSON, and the Study page.

Installed on a scheduler that runs already, wherever it runs: `Client.register_plugin` brings the plugin there, and the
plugin adds its page to the dashboard. A scheduler that is started by hand may also have it from its first second:
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
        # A handler of its own: `run_on_scheduler` would write a line into the scheduler's log for every message.
        scheduler.handlers[OPERATION] = self.receive
        application = getattr(scheduler, "http_application", None)
        if application is None:
            return
        prefix = "/"
        bokeh = [each for each in application.applications if "bokeh" in type(each).__mro__[1].__module__]
        if bokeh:
            prefix = bokeh[0].prefix or "/"
            from ntkmc.execution.progress.study_page.page import add_page

            self.viewers = add_page(scheduler, self.studies, prefix, IOLoop.current())
        route = "/" + f"{prefix.strip('/')}/study.json".lstrip("/")
        application.add_handlers(".*$", [(route, StudyJSON, {"studies": self.studies})])

    def transition(self, key: Any, start: Any, finish: Any, *args: Any, **kwargs: Any) -> None:
        """Once per change of a task: must cost next to nothing."""
        if start == "processing" and type(key) is tuple and key[0] == "block":
            if finish == "memory":
                for each in kwargs.get("startstops") or ():
                    if each["action"] == "compute":
                        self.studies.busy += each["stop"] - each["start"]
            elif finish == "erred":
                self.studies.erred += 1

    def receive(self, run: str, pickled: bytes) -> bool:
        """A driver's message, the first of a run holds its seed; whether there is a page to show it."""
        message: Message = pickle.loads(pickled)
        self.studies.update(run, message)
        return self.viewers is not None


def tell(client: Client, run: str, message: Message) -> bool:
    """Hand a driver's message to the plugin of a client's scheduler; whether that has a page to show it."""
    return bool(client.sync(getattr(client.scheduler, OPERATION), run=run, pickled=pickle.dumps(message)))


class StudyJSON(RequestHandler):
    """`study.json`: the latest study; `?cells` adds a row for each cell."""

    def initialize(self, studies: Studies) -> None:
        """Tornado's hook."""
        self.studies = studies

    def get(self) -> None:
        """Answer with an empty object before any study ran."""
        state = self.studies.latest
        found = {} if state is None else state.summary() | {"blocks_erred": self.studies.erred}
        if state is not None and self.get_query_arguments("cells"):
            found |= {"depths": state.depths, "thresholds": state.thresholds, "table": state.table()}
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(found))


def dask_setup(scheduler: Scheduler) -> None:
    """Dask's hook for `--preload`."""
    scheduler.add_plugin(
        StudyPlugin(), name=NAME, idempotent=True
    )  # its `start` follows, when the scheduler has started
