"""Maps of texts, and the way back: from a point or an embedding to text"""
from textlab.maps.data import MapData, read_map_data, write_map_data
from textlab.maps.umap import (MapNetwork, ParametricUMAP, fuzzy_graph, land, landing, lay_out, memberships,
                               neighbour_accuracy)
from textlab.maps.vec2text import Inverter, PresenceHead, template_sentences
from textlab.maps.correct import Correction, Corrector, Knowledge, controls, cross_fit, measures, side_by_side, token_f1
from textlab.maps.service import (EmbeddingToTextRequest, EmbeddingToTextResponse, EmbeddingToTextService, MapDocuments,
                                  TextGenerationResult, train_service)
from textlab.maps.explorer import Atlas, atlas_of, explorer_app, export_html, serve
from textlab.maps.chapter import maps_chapter
from textlab.maps.labels import TopicNamer
