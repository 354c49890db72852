"""Images in and out: every format that users of CMR data live in. Positions are RAS unless a name says otherwise."""
