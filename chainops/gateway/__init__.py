"""Models behind names: deployments, aliases, how healthy each is, and which one comes next."""

from chainops.gateway.alias import Alias, RouteRule
from chainops.gateway.deployment import Deployment
from chainops.gateway.gateway import Gateway
from chainops.gateway.health import DeploymentDown, Health, Watched

__all__ = ["Alias", "Deployment", "DeploymentDown", "Gateway", "Health", "RouteRule", "Watched"]
