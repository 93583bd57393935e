"""The SR service: asks an engine for SR images in batches, computes each name once, and stores the results."""

from srcache.service.requests import Request as Request
from srcache.service.requests import make_request as make_request
from srcache.service.requests import make_requests as make_requests
from srcache.service.service import Served as Served
from srcache.service.service import ServiceSettings as ServiceSettings
from srcache.service.service import SRService as SRService
