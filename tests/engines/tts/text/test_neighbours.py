"""Rules for dates, threads, recipes, notes, algebra and others read their neighbours, too."""

from __future__ import annotations

import pytest

from appliance.engines.tts.text.normalize import normalize

WORDS_BY_TEXT = {
    # ranges
    "from −10…−5 °C": "from minus ten to minus five degrees Celsius",
    "-40...+85 °C outside": "minus forty to plus eighty-five degrees Celsius outside",
    "3… 2… 1… go": "three… two… one… go",
    "seats 12A–C and 14D–F": "seats twelve A to C and fourteen D to F",
    "Plans A-C. A T-V mix.": "Plans A to C. A T-V mix.",
    "Grades K-5 and K-12": "Grades K to five and K twelve",
    "Items 10a–10d, 5m–10m": "Items ten A to ten D, five to ten meters",
    "6 mo.–5 yr.": "six months to five years.",
    # days, years and hours
    "closed 12/25 and admitted 3/2": "closed December twenty-fifth and admitted March second",
    "Valid 6/1–8/31, 1/2–3/4 cup": (
        "Valid June first to August thirty-first, one half to three quarters cup"
    ),
    "from Dec. 1, 2025–Jan. 5, 2026": (
        "from December first, twenty twenty-five to January fifth, twenty twenty-six"
    ),
    "10/1/2025-9/30/2026": (
        "October first, twenty twenty-five to September thirtieth, twenty twenty-six"
    ),
    "Fall 2025–Spring 2026": "Fall twenty twenty-five to Spring twenty twenty-six",
    "the 2025/26 season": "the twenty twenty-five twenty-six season",
    "class of '09": "class of oh nine",
    "the 1st c. AD, c. 300 BCE": "the first century AD, about three hundred BCE",
    "M/W/F 9–11": "Monday, Wednesday and Friday nine to eleven",
    "10a–4p": "ten AM to four PM",
    "It takes 1h30.": "It takes one hour thirty minutes.",
    "at 14h30": "at fourteen thirty",
    "in 42:15 and 3:47.2": "in forty-two fifteen and three minutes forty-seven point two seconds",
    "the 6:00 o'clock news": "the six o'clock news",
    # threads
    "1/4-20 bolt, 3/8-16 UNC": "one quarter, twenty bolt, three eighths, sixteen UNC",
    "10-32 screw, 10-32 people": "ten, thirty-two screw, ten to thirty-two people",
    "M10×1.5×40": "M ten by one point five by forty",
    # recipes and temperatures
    "Add 2 t salt and 1 T. sugar.": "Add two teaspoons salt and one tablespoon sugar.",
    "a 2 t truck": "a two metric ton truck",
    "3 c flour": "three cups flour",
    "Preheat to 350 F.": "Preheat to three hundred fifty degrees Fahrenheit.",
    "bake at 180C": "bake at one hundred eighty degrees Celsius",
    "type C at 37 F Street": "type C at thirty-seven F Street",
    "goal 45', wall 45'": "goal forty-five minutes, wall forty-five feet",
    # notes of a hospital
    "Pt. c/o SOB; h/o MI": "Patient complains of SOB; history of MI",
    "c/o Ann Lee": "care of Ann Lee",
    "HR 110s, low 120s, the 90s": "HR one tens, low one twenties, the nineties",
    "on x86, A&O x3": "on x eighty-six, A and O times three",
    "C5/6 and L5/S1": "C five six and L five S one",
    "Apgar 8/9": "Apgar eight and nine",
    "10 % w/w, soup w/ bread": "ten percent weight by weight, soup with bread",
    "3x/week, 1x/day": "three times per week, once per day",
    "blood type O−, Rh−": "blood type O negative, Rh negative",
    "test (+), ion Na+": "test positive, ion N A plus",
    "20/30 -2": "twenty thirty minus two",
    "a grade IV/VI murmur": "a grade four out of six murmur",
    # algebra
    "f(x) = 2x + 1": "f of x equals two x plus one",
    "|x| < 3": "the absolute value of x less than three",
    "2**3 = 8": "two cubed equals eight",
    "1/x and (a+b)/2": "one over x and (a plus b) over two",
    "x^2 + 3x - 4 = 0": "x squared plus three x minus four equals zero",
    "100%+": "one hundred percent plus",
    # computers
    "C:\\Temp\\a.txt": "C colon backslash Temp backslash a dot T X T",
    "~/.bashrc and ../src": "tilde slash dot bashrc and dot dot slash src",
    "run it with --help": "run it with dash dash help",
    "no --well, yes": "no — well, yes",
    "10.1.2.3:8080": "ten dot one dot two dot three port eighty eighty",
    "#SafetyFirst": "hashtag Safety First",
    "802.11ac": "eight oh two point eleven A C",
    # hidden digits
    "SSN ***-**-6789": "SSN ending in six seven eight nine",
    "card ending -4417": "card ending four four one seven",
    "xx63 of": "xx sixty-three of",
    "**12** and **bold** 12": "twelve and bold twelve",
    "***30 tablets*** in 2 **3** times": "thirty tablets in two three times",
    # money
    "8 x $12.50 = $100": "eight times twelve dollars and fifty cents equals one hundred dollars",
    "$(2.3) million": "minus two point three million dollars",
    "the $1.9-billion plan": "the one point nine billion dollar plan",
    "30.000 € and 1.500,00 €": "thirty thousand euros and one thousand five hundred euros",
    "3/$10": "three for ten dollars",
    "1,5 Mio. users": "one point five million users",
    "250 kr": "two hundred fifty kroner",
    # measures
    "90 dB peaks, 500 g carrots": "ninety decibel peaks, five hundred grams carrots",
    "20 km separates them": "twenty kilometers separates them",
    "9.81 m/s2": "nine point eight one meters per second squared",
    "1.2 W/m²K": "one point two watts per square meter kelvin",
    "1013 mb, 500 mb": "one thousand thirteen millibar, five hundred megabytes",
    "15–25 kt": "fifteen to twenty-five knots",
    "51.5° N": "fifty-one point five degrees north",
    "3'-6\" gap": "three foot six gap",
    "4'x8' sheet": "four feet by eight foot sheet",
    "3 hrs./day": "three hours per day",
    # codes
    "B-52s and W-2s": "B fifty-twos and W twos",
    "Order #A-22": "Order number A twenty-two",
    "i) wash; ii) dry": "one) wash; two) dry",
    # prices of things, and tolerances
    "$3.99/dozen, £2/cup": "three dollars and ninety-nine cents per dozen, two pounds per cup",
    "$3/each": "three dollars each",
    "a ±0.1 mm fit, off by ±0.1 mm": (
        "a plus or minus zero point one millimeter fit,"
        " off by plus or minus zero point one millimeters"
    ),
}


@pytest.mark.parametrize(("text", "words"), WORDS_BY_TEXT.items())
def test_kind_is_read_and_what_resembles_it_is_left_alone(text: str, words: str) -> None:
    assert normalize(text) == words
