"""The forms and queries of parsers_client.py: a judged name, beside and inside what some parser takes for it."""


def texts():
    """Each once, in the order in which they were thought of."""
    return list(dict.fromkeys(text.encode() if isinstance(text, str) else text for text in _texts()))


# (judged name, a value that is fine, one that isn't)
JUDGED = [("role", "user", "admin"), ("role", "admin", "user"), ("user_id", "1", "0")]
# What stands in brackets behind a name that isn't judged, and how each may be written.
BRACKETS = ["[]", "[0]", "[a]", "[ ]", "[+]", "[ a]", "[a ]", "[%20a]", "[a.b]", "[a][b]", "[a]b", "[[a]]", "[a", "a]", "[a%5D", "%5Ba]", "[]a", "[%00]", "[-1]"]


def _texts():
    for name, good, bad in JUDGED:
        yield from (f"{name}={good}", f"{name}={good}&x=1", f"x=1&{name}={good}", f"{name}={bad}", f"{name}=", name, f"={good}", "")
        for written in spellings(name):
            yield f"{written}={good}"
            yield f"{written}={bad}"
            yield f"{name}={good}&{written}={bad}"
            yield f"{written}={bad}&{name}={good}"
            yield f"{name}={good}&x=1&{written}={bad}"
        for written in BRACKETS:
            yield f"{name}={good}&{name}{written}={bad}"
            yield f"{name}{written}={bad}"
            yield f"{name}={good}&x{written}={bad}"
            yield f"{name}={good}&user{written}={bad}"
            yield f"{name}={good}&{written}{name}={bad}"
        for written in values(good, bad):
            yield f"{name}={written}"
            yield f"x={written}&{name}={good}"
            yield f"{name}={good}&x={written}"
        for between in (";", "&amp;", "%26", "&&", "&;", ";&", "\n", "\r\n", "\0", "%00", ",", "?", "#", " ", "+", "|", "&%00", "&+", "&%20", "&=", "%3B", "/"):
            yield f"{name}={good}{between}{name}={bad}"
            yield f"x=1{between}{name}={bad}&{name}={good}"
            yield f"{name}={good}&x=1{between}{name}={bad}"
        for around in ("?", "&", "%3F", "#", ";", "\ufeff", "%EF%BB%BF", "=", "==", "\n", " ", "+"):
            yield f"{around}{name}={bad}&{name}={good}"
            yield f"{name}={good}{around}"
        # More names than some parsers read: PHP stops at 1000, Node's querystring as well.
        many = "&".join(f"k{n}=1" for n in range(1100))
        yield f"{many}&{name}={good}"
        yield f"{name}={good}&{many}"
        yield f"{name}={good}&{many}&{name}={bad}"


def spellings(name):
    """The name as it is, escaped, and in what some parser makes the same of."""
    first, rest = name[0], name[1:]
    yield from (name, f"%{ord(first):02X}{rest}", f"%{ord(first):02x}{rest}", "".join(f"%{ord(c):02X}" for c in name))
    yield from (name.upper(), name.title(), f"{first}{rest.upper()}", f"%{ord(first.upper()):02X}{rest}")
    yield from (f"{name}[]", f"{name}%5B%5D", f"{name}%5b%5d", f"{name}[0]", f"{name}[a]", f"{name}[a][b]", f"{name}[", f"{name}]", f"{name}[][]", f"{name}%5B")
    yield from (f" {name}", f"+{name}", f"%20{name}", f"{name} ", f"{name}+", f"{name}%20", f"%09{name}", f"{name}%0A", f"%0D%0A{name}", f"\t{name}")
    yield from (f"{name}%00", f"{name}%00x", f"%00{name}", f"{name}\0", f"{name}.", f".{name}", f"{name}.x", f"{name}_", f"_{name}", f"{name}/", f"/{name}")
    yield from (f"{name}%", f"%{name}", f"{name}%4", f"{name}%zz", f"{name}%FF", f"%C0%AF{name}", f"{name}%C3", f"%uff52{rest}", f"%25{ord(first):02X}{rest}")
    yield from (f"amp;{name}", f"$.{name}", f"{name}=", f"={name}", f"{name}==", f"%3D{name}", f"{name}%3D", f"?{name}", f"{name}%26", f"{name}:", f"{name}-")
    yield from (f"%E2%80%8B{name}", f"{name}%C2%A0", f"{name}%E2%80%8B", f"%EF%BB%BF{name}", "%EF%BD%92ole", "rol%C5%BF", "user.id", "user+id", "user%20id", "user-id")
    yield from ("user%2Eid", "user%5Fid", "user[id", "user%5Bid", "user[id]", "userid", "userId", "user__id", "user_id[", "USER_ID", "user.id[]", "user_%69d", "user%00id")


def values(good, bad):
    """What is, or isn't, one of the two."""
    first, rest = bad[0], bad[1:]
    yield from (f"%{ord(first):02X}{rest}", f"%{ord(first):02x}{rest}", f"%25{ord(first):02X}{rest}", f"%u00{ord(first):02x}{rest}", bad.upper(), f"{bad}%00", f"{bad}%00x")
    yield from (f"%00{bad}", f"{bad}+", f"+{bad}", f"%20{bad}", f"{bad}%20", f"{bad}%0A", f"{bad}%0D%0A", f"{bad}%", f"%{bad}", f"{bad}%zz", f"{bad}%4", f"{bad}%FF", f"%C0%80{bad}")
    yield from (f"{bad}={good}", f"{good}={bad}", f"{bad},{good}", f"{good},{bad}", f"[{bad}]", f'"{bad}"', f"{bad}%3B", f"{bad}%26", f"{good}%26{bad}", f"%EF%BB%BF{bad}", f"{bad}%C2%A0")
    yield from ("%C3%A9", "é", "%FF%FE", "%ED%A0%80", "%F0%9F%98%80", "%F4%90%80%80", "%E2%82", "+", "%2B", "%2b", "%", "%%", "%%20", "%0", "a+b", "a%2Bb", "a%20b", "00", "0x0", "-0", "0.0", "0e0")
