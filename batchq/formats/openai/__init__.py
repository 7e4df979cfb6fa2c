"""OpenAI Batch lines as Gemini's requests.

What Gemini has no field for makes an item with a problem that names the field: an answer to another question
than the one asked is worse than none. Only fields that say nothing about the answer are left out
(settings.IGNORED), and hints (`verbosity`, an image's `detail`).
"""

from batchq.formats.openai.draft import Unmapped
from batchq.formats.openai.line import LINE_KEYS, item_of, looks_like

__all__ = ["LINE_KEYS", "Unmapped", "item_of", "looks_like"]
