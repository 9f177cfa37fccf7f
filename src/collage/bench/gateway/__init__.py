"""What a gateway costs: Collage beside other servers, and beside no server at all, with the same model and client."""

from collage.bench.gateway._journal import GatewayJournal
from collage.bench.gateway._micro import Costs, measure_costs
from collage.bench.gateway._report import ServerRow, Verdict, summarise, verdicts, write_gateway
from collage.bench.gateway._run import missing, run_gateway, seconds_of
from collage.bench.gateway._servers import ENVIRONMENTS
from collage.bench.gateway._session import Cell, SessionResult
from collage.bench.gateway._settings import GatewaySettings, Served, Server, Session, load_gateway, sessions

__all__ = [
    "ENVIRONMENTS",
    "Cell",
    "Costs",
    "GatewayJournal",
    "GatewaySettings",
    "Served",
    "Server",
    "ServerRow",
    "Session",
    "SessionResult",
    "Verdict",
    "load_gateway",
    "measure_costs",
    "missing",
    "run_gateway",
    "seconds_of",
    "sessions",
    "summarise",
    "verdicts",
    "write_gateway",
]
