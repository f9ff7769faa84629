"""Benchmarks: textlab beside the systems that people use"""
from textlab.bench.core import Column, Systems, Table, choose, load_task, read_results, run_all, runs_of, save_task, summarise, timed
from textlab.bench.topics import ablations, bench_ablations, bench_scale, bench_topics, topic_table
from textlab.bench.classification import accuracy_table, bench_attempts, bench_classification, class_table
from textlab.bench.retrieval import bench_encoder, bench_retrieval, bench_weights, cost_table, retrieval_summary, retrieval_table
