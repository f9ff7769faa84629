"""Maps of texts, and the way back: from a point or an embedding to text"""
from textlab.maps.vec2text import Inverter, PresenceHead, template_sentences
