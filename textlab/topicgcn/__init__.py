"""TopicGCN: classify documents on a document–topic–topic graph"""
from textlab.topicgcn.topics import LDA, TopicSpace, topic_embeddings, topic_similarity, word_vectors
from textlab.topicgcn.graph import (GraphBlocks, TopicGraph, build_graph, doc_rows, doc_topic_edges, graph_html, normalize, plot_graph,
                                    topic_topic_edges)
from textlab.topicgcn.tune import Tuned, tune_encoder, tuned_embedder
from textlab.topicgcn.gcn import Explanation, TopicConvolution, TopicGCN, plot_explanation
