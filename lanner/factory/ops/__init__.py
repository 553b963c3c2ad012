"""lanner/factory/ops"""
