"""K-mer VQ-VAE: text as discrete codes, and a coarse filter learned from them"""
from textlab.codes.quantizer import VectorQuantizer, assign, library_quantizer, soft_codes, spherical_kmeans, unevenness, usage
from textlab.codes.kmer import KmerLoss, KmerVQVAE, Windows, parameter_table, static_start, token_windows
from textlab.codes.pretrain import Codes, CodesData, SOURCES, evaluate, prepare, pretrain, stream_texts
from textlab.codes.adapt import adapt, add_lora, load_codes, merge
from textlab.codes.align import (PAIRS, Aligned, Pairs, QueryPassageAdapters, align, alignment, encode_texts, load_aligned,
                                 pooled_vectors, read_pairs)
from textlab.codes.filter import (BookCodes, CellCodes, CodeFilter, Coder, KmerCodes, PooledCodes, hashed_counts, judge_filter,
                                  random_codes, recall_kept)
