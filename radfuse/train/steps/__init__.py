"""The scikit-learn objects of a fold's pipeline, in the order in which rows pass through them.

columns, imputer, (harmoniser, given from outside), scaler, then a strategy with its selector; each takes the rows of
`FeatureTable.rows` as a data frame and learns from the rows given to ``fit`` alone.
"""
