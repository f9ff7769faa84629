"""Benchmarks: textlab beside the systems that people use"""
from textlab.bench.topics import ablations, bench_ablations, bench_scale, bench_topics, read_results, summarise
from textlab.bench.classification import bench_attempts, bench_classification, class_table
from textlab.bench.retrieval import bench_encoder, bench_retrieval, bench_weights, cost_table, retrieval_summary, retrieval_table
