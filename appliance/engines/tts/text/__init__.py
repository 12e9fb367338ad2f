"""Text normalization: converts written text to the words to be spoken.

normalize      the stages, in order, and why in this order
rule           what a rule is

Before the numbers are words:

markup         Markdown, HTML tags and emoticons
characters     the many forms of a Unicode character
addresses      web and mail addresses
paths          file names and paths
clinical       clinical notes
kitchen        recipes
abbreviations  with or without a period
temperatures   without a degree sign
roman          Roman numerals

Numbers:

numbers        patterns that find them, and their words
algebra        functions, powers and quotients
sums           a difference or a range
signs          comparisons, signs and arithmetic
dates          dates, days, months and years
threads        threads of screws
codes          telephone, account and model numbers
fractions      fractions, scores and ratios
times          times of the day, and durations
money          amounts with a currency
units          amounts with a unit
unit_names     the names of the units
ranges         ranges of bare numbers
symbols        what is left
"""
