"""What ``medaug predict`` answers, whatever the answer is."""
