"""THETA: a neural topic model over sentence embeddings"""
from textlab.theta.model import ELBO, THETA, Encoder, TopicWords, gaussian_kl, laplace_prior, reparameterize
from textlab.theta.topics import DocumentFeatures, TopicModel, guess_num_topics
