"""lanner/cli"""
