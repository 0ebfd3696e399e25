"""The fault campaign: every fault that delivery must survive, many times, judged by a witness of its own."""
