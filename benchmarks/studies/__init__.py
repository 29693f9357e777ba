"""Simulated studies: do the intervals cover, and how often is a cure named where there is none?"""
