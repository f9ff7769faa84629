"""K-mer VQ-VAE: text as discrete codes, and a coarse filter learned from them"""
from textlab.codes.quantizer import VectorQuantizer, assign, library_quantizer, soft_codes, spherical_kmeans, unevenness, usage
from textlab.codes.kmer import KmerLoss, KmerVQVAE, Windows, parameter_table, static_start, token_windows
