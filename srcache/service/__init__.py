"""SRService in this process and its HTTP client: SRService, ServiceSettings, Request, Client."""

from srcache.service.requests import Request as Request
from srcache.service.requests import make_request as make_request
from srcache.service.requests import make_requests as make_requests
from srcache.service.service import Served as Served
from srcache.service.service import ServiceSettings as ServiceSettings
from srcache.service.service import SRService as SRService
