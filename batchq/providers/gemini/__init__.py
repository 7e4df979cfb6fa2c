"""Gemini over google-genai: the Developer API and Vertex AI."""

from batchq.providers.gemini.config import GeminiConfig
from batchq.providers.gemini.provider import GeminiProvider

__all__ = ["GeminiConfig", "GeminiProvider"]
