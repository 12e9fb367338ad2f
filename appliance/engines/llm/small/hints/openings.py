"""The words with which callers begin, before what they want: "Okay, could you please". No I/O.

All of these also match nothing. English, as `llm.language`.
"""

from __future__ import annotations

from typing import Final

FILLERS: Final = (
    r"(?:(?:and|so|but|okay|ok|then|please|hey|hi|hello|excuse me|sorry|now|well|wait|oh|um|uh|yes"
    r"|no|thanks|thank you|all right|alright|good (?:morning|afternoon|evening|day)"
    r"|(?:good|great)(?=[,.!] ))\b[\s,.!:;]*)*"  # "Good save!"
)
ASKS_TO_ACT: Final = (
    r"(?:(?:can|could|will|would) you (?:please |just |maybe |also |now |quickly )*"
    r"|i (?:want|need|would like) you to |i'd like you to )?"
)
ASKS_TO_KNOW: Final = (
    r"(?:(?:do you know|(?:(?:can|could) you )?(?:please )?tell me"
    r"|i (?:want|would like|need) to know|any idea)[\s,:]+(?:please[\s,:]+)?)?"
)
