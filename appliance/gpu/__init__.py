"""GPUs ("cards"): what the driver reports, what fits into their memory, how fast they can be."""

from appliance.gpu.cards import GpuCard
from appliance.gpu.planning import Plan, plan

__all__ = ["GpuCard", "Plan", "plan"]
