"""The changes a policy is made of, by family: geometry, grey values, filters, and what scanners do."""
