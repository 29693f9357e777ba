"""Trainings with two planted causes of different size: is the larger one the verdict, and are the terms right?"""
