"""Every family of rules reads its neighbours, and leaves alone what only resembles them."""

from __future__ import annotations

import pytest

from appliance.engines.tts.text.normalize import normalize

WORDS_BY_TEXT = {
    # ranges
    "INR 2.0-3.0": "INR two point zero to three point zero",
    "from $5 to $10": "from five dollars to ten dollars",
    "Mon-Fri, 9am-5pm": "Monday to Friday, nine AM to five PM",
    "a 10–15 minute walk": "a ten to fifteen minute walk",
    "noon-1 pm": "noon to one PM",
    "2nd–4th": "second to fourth",
    "closed - 5 people left": "closed — five people left",
    # measures
    "15 mL/min/1.73 m²": "fifteen milliliters per minute per one point seven three square meters",
    "9.8 m/s^2": "nine point eight meters per second squared",
    "0.5 W/(m·K)": "zero point five watts per meter kelvin",
    "10 ft-lb": "ten foot pounds",
    "cells/µL": "cells per microliter",
    "N/A and I/O": "N A and I O",
    "5 ft. 10 in.": "five feet ten inches.",
    "Put 5 in the box": "Put five in the box",
    "3-in-1": "three-in-one",
    "I got 4 A's": "I got four A's",
    "Seat 16A has a 16A fuse": "Seat sixteen A has a sixteen amp fuse",
    "12 ft x 10 ft": "twelve feet by ten feet",
    # money
    "$5–10 million": "five to ten million dollars",
    "$25-a-plate": "twenty-five dollar-a-plate",
    "99¢/lb": "ninety-nine cents per pound",
    "INR 3 is no money": "INR three is no money",
    # signs
    "Come at ~5 pm.": "Come at about five PM.",
    "odds <1:100": "odds less than one to one hundred",
    "K+ and Na+": "K plus and N A plus",
    "y = 2x + 1": "y equals two x plus one",
    "Take 3x daily.": "Take three times daily.",
    "10 / 2 = 5": "ten divided by two equals five",
    # fractions, scores and ratios
    "GCS 15/15": "GCS fifteen out of fifteen",
    "20/40 vision": "twenty forty vision",
    "BP 120s/80s": "BP one twenties over eighties",
    "Epinephrine 1:1,000": "Epinephrine one to one thousand",
    "John 3:16": "John three sixteen",
    "6/8 time": "six eight time",
    # numbers
    "12 345 678": "twelve million three hundred forty-five thousand six hundred seventy-eight",
    "6.022e23": "six point zero two two times ten to the twenty-third",
    "items 1,2": "items one, two",
    "1500 units in 1984": "one thousand five hundred units in nineteen eighty-four",
    # codes
    "(555) 123-4567 x12": "five five five, one two three, four five six seven extension twelve",
    "Rooms 101 and 102": "Rooms one oh one and one oh two",
    "ISO 9001:2015": "ISO ninety oh one, twenty fifteen",
    "SN 4F7A-22B9": "SN four F seven A, two two B nine",
    "Call 120 patients": "Call one hundred twenty patients",
    "501(c)(3)": "five oh one C three",
    "1.800.555.0199": "one eight hundred, five five five, zero one nine nine",
    # Roman numerals
    "Phase I–II trial": "Phase one to two trial",
    "Louis XVI's wife": "Louis the sixteenth's wife",
    "Extra CLI Options via MIX": "Extra CLI Options via MIX",
    "Mary I saw today.": "Mary I saw today.",
    "XXI century": "twenty-first century",
    "Exhibit C, Plan B": "Exhibit C, Plan B",
    # abbreviations
    "Dr. Lee lives on Elm Dr. Today he left.": "Doctor Lee lives on Elm Drive. Today he left.",
    "123 Main St. The door": "one twenty-three Main Street. The door",
    "p.o. q6h prn": "P O every six hours P R N",
    "§§ 101-105": "sections one oh one to one oh five",
    "He said no. 5 left.": "He said no. five left.",
    # dates and times
    "the 5th of March. Come.": "the fifth of March. Come.",
    "12/2025 and 2025-12": "December twenty twenty-five and December twenty twenty-five",
    "Sat 5 hours in traffic": "Sat five hours in traffic",
    "in the 80s and 90s, every 30s": "in the eighties and nineties, every thirty seconds",
    "10 a.m. Monday": "ten AM Monday",
    "2026-01-31T14:30:00Z": "January thirty-first, twenty twenty-six at fourteen thirty UTC",
    "0800 hrs": "oh eight hundred hours",
    # addresses
    "/etc/hosts and report.pdf": "slash etc slash hosts and report dot P D F",
    "192.168.0.1": "one ninety-two dot one sixty-eight dot zero dot one",
}


@pytest.mark.parametrize(("text", "words"), WORDS_BY_TEXT.items())
def test_text_is_expanded_as_a_person_would_read_it(text: str, words: str) -> None:
    assert normalize(text) == words
