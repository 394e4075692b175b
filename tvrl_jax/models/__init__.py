"""Encoders and heads behind plain functions of arrays: the only home of flax."""
