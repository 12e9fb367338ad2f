"""Hints: what the small model gets wrong and is known, as notes and beginnings of replies.

hint                 what helps with one question
dialogue             the hint for each question of a dialogue
openings             the words with which callers begin

What the caller has said:
quotations           the caller's last words, and the letters of a word
told_names           the name that the caller has told
corrected_numbers    a number that the caller has corrected
corrected_facts      a fact that the caller has corrected

What the assistant is, cannot do and does not know:
own_nature           questions about what the assistant is
impossible_requests  requests that no tool can fulfil
weather              questions for the weather
imagination          requests within stories and games, which are no such requests
local_facts          questions for facts of the place, which nobody has told

What can be worked out:
numbers_in_text      numbers in words and figures
spoken_sums          sums that a caller asks for
story_words          what counts in a sum that a caller tells as a story
story_sums           the results of common stories
step_by_step         stories whose sum the model has to find
clock_sums           times of the day that a caller asks for
unit_conversions     units that a caller wants converted
letters              questions about the letters of a word
"""
