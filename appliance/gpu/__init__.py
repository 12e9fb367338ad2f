"""What a card can carry: a pure sum over its memory, and how fast it can be at most."""

from appliance.gpu.cards import Card
from appliance.gpu.planning import Plan, plan

__all__ = ["Card", "Plan", "plan"]
