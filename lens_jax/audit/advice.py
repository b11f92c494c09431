def advise(audit):
    return {}
