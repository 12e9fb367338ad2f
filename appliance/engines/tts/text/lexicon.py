"""Word tables for `readings` and `rules`: how symbols, units and abbreviations are spoken."""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


MONTHS = _words(
    "January February March April May June July August September October November December"
)

CHARACTERS = str.maketrans(
    {"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "\n": "\n"}
)
KEEP = frozenset("\n°²³µ…™®©½¼¾⅓⅔")
SPOKEN_PUNCTUATION = frozenset(".,;:!?…—'\"()-")

# Numbers that are always read digit by digit.
CODES = frozenset(("911", "999", "112", "411", "101", "404", "007"))
DECADES = {
    "00": "hundreds",
    "10": "tens",
    "20": "twenties",
    "30": "thirties",
    "40": "forties",
    "50": "fifties",
    "60": "sixties",
    "70": "seventies",
    "80": "eighties",
    "90": "nineties",
}
SCALES = {
    "k": "thousand",
    "m": "million",
    "b": "billion",
    "bn": "billion",
    "thousand": "thousand",
    "million": "million",
    "billion": "billion",
    "trillion": "trillion",
}
# Symbol or code: singular and plural of the currency, then of its hundredth part.
CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "", ""),
    "₽": ("ruble", "rubles", "kopek", "kopeks"),
    "₿": ("bitcoin", "bitcoins", "", ""),
    "US$": ("dollar", "dollars", "cent", "cents"),
    "USD": ("dollar", "dollars", "cent", "cents"),
    "EUR": ("euro", "euros", "cent", "cents"),
    "GBP": ("pound", "pounds", "penny", "pence"),
    "JPY": ("yen", "yen", "", ""),
    "CHF": ("franc", "francs", "centime", "centimes"),
}
# Symbol: singular, plural.
UNITS = {
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"),
    "mph": ("mile per hour", "miles per hour"),
    "m/s": ("meter per second", "meters per second"),
    "km²": ("square kilometer", "square kilometers"),
    "m²": ("square meter", "square meters"),
    "m³": ("cubic meter", "cubic meters"),
    "sq ft": ("square foot", "square feet"),
    "km": ("kilometer", "kilometers"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "nm": ("nanometer", "nanometers"),
    "m": ("meter", "meters"),
    "mi": ("mile", "miles"),
    "ft": ("foot", "feet"),
    "yd": ("yard", "yards"),
    "kg": ("kilogram", "kilograms"),
    "mg": ("milligram", "milligrams"),
    "µg": ("microgram", "micrograms"),
    "g": ("gram", "grams"),
    "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "ml": ("milliliter", "milliliters"),
    "mL": ("milliliter", "milliliters"),
    "l": ("liter", "liters"),
    "L": ("liter", "liters"),
    "tsp": ("teaspoon", "teaspoons"),
    "tbsp": ("tablespoon", "tablespoons"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "° C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "° F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
    "k": ("thousand", "thousand"),
    "ms": ("millisecond", "milliseconds"),
    "s": ("second", "seconds"),
    "sec": ("second", "seconds"),
    "min": ("minute", "minutes"),
    "mins": ("minute", "minutes"),
    "h": ("hour", "hours"),
    "hr": ("hour", "hours"),
    "hrs": ("hour", "hours"),
    "Hz": ("hertz", "hertz"),
    "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "kB": ("kilobyte", "kilobytes"),
    "KB": ("kilobyte", "kilobytes"),
    "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"),
    "TB": ("terabyte", "terabytes"),
    "V": ("volt", "volts"),
    "W": ("watt", "watts"),
    "kW": ("kilowatt", "kilowatts"),
    "kWh": ("kilowatt hour", "kilowatt hours"),
    "kcal": ("kilocalorie", "kilocalories"),
}
# Abbreviations that are written with a period. Keys are in lower case, without the period.
ABBREVIATIONS = {
    "dr": "Doctor",
    "mr": "Mister",
    "mrs": "Missus",
    "ms": "Miz",
    "prof": "Professor",
    "sgt": "Sergeant",
    "capt": "Captain",
    "lt": "Lieutenant",
    "gen": "General",
    "rev": "Reverend",
    "sen": "Senator",
    "gov": "Governor",
    "jr": "Junior",
    "sr": "Senior",
    "mt": "Mount",
    "ft": "Fort",
    "ave": "Avenue",
    "blvd": "Boulevard",
    "rd": "Road",
    "dept": "department",
    "inc": "Incorporated",
    "ltd": "Limited",
    "corp": "Corporation",
    "e.g": "for example",
    "i.e": "that is",
    "etc": "et cetera",
    "vs": "versus",
    "cf": "compare",
    "approx": "approximately",
    "ca": "about",
    "est": "established",
    "fig": "figure",
    "vol": "volume",
    "pp": "pages",
    "tel": "telephone",
    "jan": "January",
    "feb": "February",
    "aug": "August",
    "sept": "September",
    "oct": "October",
    "nov": "November",
    "dec": "December",
    "tues": "Tuesday",
    "thurs": "Thursday",
}
# Abbreviations that often end a sentence. The period is kept there.
CLOSING_ABBREVIATIONS = frozenset(("etc", "jr", "sr", "inc", "ltd", "corp", "ave", "blvd", "rd"))
# Special spellings, matched as whole words.
WRITTEN = {
    "C++": "C plus plus",
    "c++": "C plus plus",
    "C#": "C sharp",
    "F#": "F sharp",
    ".NET": "dot net",
    "Node.js": "node J S",
    "e.g": "for example",
    "i.e": "that is",
    "vs": "versus",
    "etc": "et cetera",
    "approx": "approximately",
    "H2O": "H two O",
    "CO2": "C O two",
    "Ph.D": "P H D",
    "Ph.D.": "P H D",
}
# Words after which a Roman numeral is a cardinal ("World War II").
COUNTED = frozenset(
    _words(
        "War Chapter Part Act Type Phase Volume Section Book Level Appendix Article Class Stage "
        "Scene Bowl Title Grade Episode"
    )
)
# Names after which a Roman numeral is an ordinal ("Henry VIII").
MONARCHS = frozenset(
    _words(
        "Henry Louis George Elizabeth Charles James William Edward Richard Philip Napoleon "
        "Frederick Peter Ivan Nicholas Catherine Alexander Leopold Pius Paul John Benedict "
        "Ramses Ferdinand Francis Harald Margrethe Gustav Christian Otto Constantine Leo "
        "Clement Gregory"
    )
)
ROMAN = {
    numeral: number
    for number, numeral in enumerate(
        _words("I II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX"), start=1
    )
}
SYMBOLS = {
    "&": "and",
    "%": "percent",
    "°": "degrees",
    "²": "squared",
    "³": "cubed",
    "½": "one half",
    "¼": "one quarter",
    "¾": "three quarters",
    "⅓": "one third",
    "⅔": "two thirds",
    "×": "times",
    "÷": "divided by",
    "±": "plus or minus",
    "≈": "about",
    "≠": "is not",
    "≤": "at most",
    "≥": "at least",
    "<=": "at most",
    ">=": "at least",
    " = ": "equals",
    " + ": "plus",
    "→": "to",
    "=>": "to",
    "->": "to",
    "π": "pi",
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "Δ": "delta",
    "λ": "lambda",
    "µ": "mu",
    "μ": "mu",
    "σ": "sigma",
    "Σ": "sigma",
    "θ": "theta",
    "Ω": "omega",
    "ω": "omega",
    "™": "",
    "®": "",
    "©": "",
    "•": ",",
    "§": "section",
    "€": "euros",
    "£": "pounds",
    "¥": "yen",
}


def month(name: str) -> str:
    """Return the full name of a month: 'Mar' -> 'March'."""
    return next(full for full in MONTHS if full[:3] == name[:3])
