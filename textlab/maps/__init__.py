"""Maps of documents by Parametric UMAP, and the way back from a place to a vector"""
from textlab.maps.data import MapData, read_map_data, write_map_data
from textlab.maps.umap import (MapNetwork, ParametricUMAP, fuzzy_graph, land, landing, lay_out, memberships,
                               neighbour_accuracy)
