"""Sums told as stories are found, and worked out if they are of a common kind."""

from __future__ import annotations

import pytest

from appliance.engines.llm.small.hints.step_by_step import asks_for_story_sum
from appliance.engines.llm.small.hints.story_sums import story_result


@pytest.mark.parametrize(
    "text",
    [
        "I had fifty dollars and spent eighteen. How much is left?",
        "A ticket costs 9 pounds. How much are 4 tickets?",
        "I drink three cups a day. How many is that in a week?",
        "Anna has twice as many books as Ben. Ben has sixteen. How many does Anna have?",
        "It was four degrees and it fell by nine. What is it now?",
        "Tom is twelve and his sister is three years younger. How old is his sister?",
    ],
)
def test_story_is_found(text: str) -> None:
    assert asks_for_story_sum(text)


@pytest.mark.parametrize(
    "text",
    [
        "How many legs does a spider have?",
        "How many legs do two spiders have?",
        "I am thirty. How old are you?",
        "My number is five five five, zero one four two. What is my number?",
        "I have two cats and one dog.",
        "It is three o'clock. What time will it be in four hours?",
        "I take two tablets three times a day.",
        "",
    ],
)
def test_other_text_is_not(text: str) -> None:
    assert not asks_for_story_sum(text)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("I had fifty dollars and I spent eighteen. How much is left?", "32"),
        ("There are thirty people on the bus and twelve get off. How many remain?", "18"),
        ("There were nineteen birds in a tree and seven more came. How many are there?", "26"),
        ("I paid with a fifty dollar bill and it costs 33. How much change do I get?", "17"),
        ("A ticket costs nine pounds. How much are four tickets?", "36"),
        ("A box holds eight apples. How many apples are in five boxes?", "40"),
        ("I earn $17 an hour and worked eight hours. How much did I earn?", "136"),
        ("I drink three cups of tea a day. How many is that in a week?", "21"),
        ("I take two tablets three times a day. How many do I need for five days?", "30"),
        ("We share 24 biscuits among six children. How many does each child get?", "4"),
        ("Three friends split a bill of seventy-five euros. How much does each pay?", "25"),
        ("My brother is seven years older than me and I am thirty. How old is he?", "37"),
        ("Tom is twelve and his sister is three years younger. How old is his sister?", "9"),
        ("It was four degrees and it fell by nine. What is it now?", "minus 5"),
        ("A shirt costs 40 dollars and is reduced by 20 percent. What does it cost now?", "32"),
        ("Anna has twice as many books as Ben. Ben has 16. How many does Anna have?", "32"),
        ("I have two apples and five pears. How many pieces is that altogether?", "7"),
        ("There are six eggs in a box. How many eggs are in four boxes?", "24"),
        ("One pizza has eight slices. How many slices do three pizzas have?", "24"),
        ("A bus has 40 seats and 27 are taken. How many are free?", "13"),
        ("If I buy three books at twelve dollars each, how much do I pay?", "36"),
        ("My son is nine. How old will he be in five years?", "14"),
        ("I am forty-five. How old was I ten years ago?", "35"),
        ("A rope is 20 meters long and I cut off six meters. How long is it now?", "14"),
        ("Divide thirty sweets among five children. How many does each one get?", "6"),
        ("I bought a coat for eighty dollars and shoes for 55. How much did I spend?", "135"),
        ("I have three cats and each cat has four kittens. How many kittens is that?", "12"),
        ("Mary is twice as old as Tom. Tom is eleven. How old is Mary?", "22"),
        ("I earn 2,000 dollars and pay 800 in rent. How much is left?", "1,200"),
        ("I have 60 euros and a book costs 14. How much is left if I buy two?", "32"),
        ("She weighs 80 kilograms and gets two milligrams per kilogram. How much is it?", "160"),
        ("A baker makes sixty rolls and sells 44. How many are left over?", "16"),
        ("I pay eleven dollars a month for music. What do I pay in a year?", "132"),
        ("I am forty and my son is twelve. How much older am I?", "28"),
        ("Four pens cost three dollars each. What do I pay in all?", "12"),
        ("My mother gave me twenty dollars and I spent twelve. How much do I have left?", "8"),
        ("A gardener planted 20 roses and 4 died. How many roses are left?", "16"),
        ("A plant was 40 centimeters tall and grew by 12. How tall is it now?", "52"),
        ("The baby weighed four kilograms and gained two. How much does it weigh now?", "6"),
        ("The rent was 800 dollars and rises by five percent. How much is it now?", "840"),
        ("It was minus three degrees and it rose by ten. What is the temperature now?", "7"),
        ("I earn two thousand euros a month and pay 800 in rent. How much is left?", "1,200"),
        ("One ticket costs twelve euros. What do five tickets cost?", "60"),
        ("A glass holds 200 milliliters and I drink five glasses. How much did I drink?", "1,000"),
        ("Seven kids have three balloons each. How many balloons is that?", "21"),
        ("I run three miles a day, five days a week. How many miles do I run in a week?", "15"),
        ("She gets five milligrams twice a day. How many milligrams is that a day?", "10"),
        ("The pump moves ninety liters per minute. How much is that in an hour?", "5,400"),
        ("Anna has twice as many books as Ben. Anna has 16. How many does Ben have?", "8"),
        ("There are twelve boys and 14 girls in the class. How many is that altogether?", "26"),
        ("My sister spent fifty dollars and I spent 18. How much more did she spend?", "32"),
    ],
)
def test_common_story_has_a_result(text: str, result: str) -> None:
    assert story_result(text) == result


@pytest.mark.parametrize(
    "text",
    [
        "I had fifty dollars.",
        "I had fifty dollars, spent eighteen and found three. How much is left?",
        "I have three boxes with fourteen pens and I lose five pens. How many do I have?",
        "I bought two coffees at four dollars and one cake for six. How much did I pay?",
        "A ticket costs nine pounds and I have twenty. How many tickets can I buy?",
        "I had ten apples and gave half of five away. How many are left?",
        "Tom is twelve and she is three years younger than Ann. How old is Ann?",
        "I take two tablets three times a day. How many are left?",
        "It is five degrees. What will it be at nine?",
        "I want to share eighteen cookies with two friends. How many do we each get?",
        "I earned fifty dollars and spent twenty. How much did I save?",
        "My room is four one five. How old are you?",
        "The boy has nine dollars. How much do four tickets cost?",
        "I bought three shirts. How much do I pay for two?",
        "A box has six eggs. How many more eggs are in three boxes?",
        "It was twenty degrees and it fell by eight. How much did it fall?",
        "I had ten dollars and lost my keys at nine. How much do I have?",
        "Tom is twice as old as Ann. In five years Ann is ten. How old is Tom?",
        "A jacket was ninety dollars and is one third cheaper. What does it cost now?",
        "I read twenty pages a day. How many pages do I read in two weeks?",
        "I work eight hours a day and earn 12 dollars an hour. What do I earn in a week?",
        "We share ten cookies among zero children. How many does each get?",
        "I have # dollars and spent two. How much is left?",
    ],
)
def test_uncertain_story_has_none(text: str) -> None:
    assert story_result(text) == ""
