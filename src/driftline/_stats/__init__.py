"""Statistics on plain arrays: what is here knows no boxes, no cameras and no alerts."""
