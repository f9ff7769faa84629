"""Small language models from scratch: a tokenizer, an LSTM, a Transformer"""
from textlab.tokenizer import BPETokenizer, compression, fertility, learn_bpe, ngram_bits, pack, split_documents
from textlab.lm.lstm import LSTMModel, document_bits, pooled_hidden, train_network
from textlab.lm.transformer import LanguageModel, TransformerModel
from textlab.lm.retrieval import BM25, Dense, Hybrid, PooledTokens, Whitened, evaluate_search, known_items, results_table
from textlab.lm.encoder import DocumentEncoder
from textlab.lm.search import SearchIndex, snippet
from textlab.lm.page import ask_page, search_page
