"""lanner/inference"""
