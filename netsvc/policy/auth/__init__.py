"""Who really sent it: SPF, DKIM, DMARC and the Authentication-Results field."""
