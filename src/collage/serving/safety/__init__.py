"""Who may call, whose limits count, and what travels encrypted."""

from collage.serving.safety._call import Call, current_call
from collage.serving.safety._calls import admitted
from collage.serving.safety._guard import Guard, Need
from collage.serving.safety._keys import digest, new_key
from collage.serving.safety._metrics import GuardState
from collage.serving.safety._routes import CERTIFICATE, charged, guarded, need_of
from collage.serving.safety._settings import Digest, TenantName, TenantSettings, check_owners
from collage.serving.safety._tenants import Admission, Tenant
from collage.serving.safety._tls import Tls, certificate_names

__all__ = [
    "CERTIFICATE",
    "Admission",
    "Call",
    "Digest",
    "Guard",
    "GuardState",
    "Need",
    "Tenant",
    "TenantName",
    "TenantSettings",
    "Tls",
    "admitted",
    "certificate_names",
    "charged",
    "check_owners",
    "current_call",
    "digest",
    "guarded",
    "need_of",
    "new_key",
]
