"""Recipes: "2 t baking powder" are teaspoons, "1 T sugar" is a tablespoon, "3 c. flour" are cups.

The single letters are also tons, teslas and sizes: they are measures of a kitchen only before
something that is eaten, or how it is prepared.
"""

from __future__ import annotations

from appliance.engines.tts.text.numbers import AMOUNT
from appliance.engines.tts.text.rule import Match, Rules, rule

_INGREDIENT = (
    r"(?:baking|salt|sugar|soda|vanilla|cinnamon|pepper|yeast|oil|butter|margarine|honey|flour|milk"
    r"|water|cream|cumin|paprika|garlic|ginger|nutmeg|lemon|lime|orange|vinegar|soy|mustard|oregano"
    r"|basil|thyme|rosemary|sage|parsley|cilantro|dill|powder|powdered|extract|cocoa|corn\w*|cloves?"
    r"|turmeric|chili|chile|curry|cayenne|ground|chopped|grated|minced|melted|fresh|dried|brown"
    r"|white|olive|vegetable|kosher|sea|table|unsalted|heavy|sour|cold|warm|hot|boiling|whole|rice"
    r"|oats|oatmeal|cheese|cheddar|broth|stock|juice|syrup|maple|molasses|coffee|tea|raisins|nuts"
    r"|walnuts|pecans|almonds?|all-purpose|plain|bread|cake|diced|sliced|shredded|packed|sifted"
    r"|cooked|frozen|wine|beer|buttermilk|yogurt|mayonnaise|mayo|ketchup|tomato\w*|onions?|beans"
    r"|peas|carrots?|celery|spinach|berries|blueberries|apples?|peanut|sesame|shortening|lard"
    r"|gelatin|cream|cubed|crushed|toasted|vanilla|red|green|black)\b"
)
_MEASURES = {
    "t": ("teaspoon", "teaspoons"),
    "T": ("tablespoon", "tablespoons"),
    "Tb": ("tablespoon", "tablespoons"),
    "Tbs": ("tablespoon", "tablespoons"),
    "c": ("cup", "cups"),
    "C": ("cup", "cups"),
    "pkg": ("package", "packages"),
    "pkt": ("packet", "packets"),
    "doz": ("dozen", "dozen"),
}
_SIZES = {"lg": "large", "med": "medium", "sm": "small"}


def _measure(match: Match) -> str:
    """'1/2 t. salt' -> '1/2 teaspoon salt'."""
    amount, symbol = match[1], match[2]
    is_one = amount == "1" or ("/" in amount and " " not in amount)
    return f"{amount} {_MEASURES[symbol][not is_one]}"


KITCHEN: Rules = (
    rule(rf"(?<![\w.,/])({AMOUNT})\s(t|T|Tbs?|c|C)\.?(?=\s(?:of\s)?{_INGREDIENT})", _measure),
    rule(rf"(?<![\w.,/])({AMOUNT})\s(c)\.(?=\s(?:at|more|less|per|each|or|and|of)\b)", _measure),
    rule(rf"(?<![\w.,/])({AMOUNT})\s(pkg|pkt|doz)\b\.?", _measure),
    rule(r"\bpkgs\b\.?", "packages"),
    rule(r"\bingr\.(?=\s)", "ingredients"),
    rule(r"(?<=\ba )(lg|med|sm)\.(?=\s[a-z])", lambda m: _SIZES[m[1]]),
)
