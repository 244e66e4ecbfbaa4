"""`drt run` against a simulated HubSpot: in the peers' environment, `drt_run.py http://127.0.0.1:PORT run --select hubspot`.

drt has HubSpot's address in its code and no setting for it, so the two constants that hold it are given another host; all
else is drt's own command line.
"""

import sys

from drt.cli.main import app
from drt.destinations import hubspot

address = sys.argv.pop(1)
vars(hubspot).update(_HUBSPOT_API=f"{address}/crm/v3/objects", _HUBSPOT_PROPERTIES_API=f"{address}/crm/v3/properties")
app()
