"""GPUs ("cards"): what the driver reports, what fits into their memory, how fast they can be.

cards      cards as the driver describes them, and values of data sheets
nvml       lists the cards
own_card   which of them belongs to this appliance
readings   their clocks, temperatures and errors
memory     the memory budget of a card, item by item
reference  the model for each kind of weights
planning   how vLLM runs on a card
speed      estimates of its speed
page       the text of the plan, and the tables of docs/hardware.md
"""

from appliance.gpu.cards import GpuCard
from appliance.gpu.planning import Plan, plan

__all__ = ["GpuCard", "Plan", "plan"]
