"""From a template and a text to the prompt, in characters.

1. The template wraps the user's text into a message; a chat template, where there is one, wraps that.
2. Other texts instead of the user's show where it stands in the prompt, and that nothing else in the prompt
   depends on it: a second copy, or a count of its letters, would stay when its words are absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

HERE = "{text}"
_OWN_ARGUMENTS = frozenset(
    "conversation messages tokenize add_generation_prompt chat_template continue_final_message return_tensors "
    "return_dict padding truncation max_length tokenizer_kwargs return_assistant_tokens_mask".split()
)
# No text holds these; they differ in length and letters, so that what depends on either shows.
_MARKS = ("\u241fText\u241f", "\u241fAnother One 7\u241f")
_DIGITS = re.compile(r"\d+")
_TRIES = 3
# How models write that a thought begins and ends: <think>, [THINK], ◁think▷, <|START_THINKING|>, <seed:think>.
_THOUGHT = r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|thought_process)"
_OPENS = re.compile(rf"[<\[◁]\|?(?:\w+:)?(?:begin_of_|start_)?{_THOUGHT}\|?[>\]▷]", re.IGNORECASE)
_CLOSES = re.compile(rf"[<\[◁]\|?(?:/(?:\w+:)?|(?:\w+:)?/|end_of_|end_){_THOUGHT}\|?[>\]▷]", re.IGNORECASE)


@dataclass(frozen=True)
class Template:
    """What surrounds the user's text.

    Attributes:
        user: The user's message with ``{text}`` once in it.
        system: System message for models with a chat template, None for the template's own default.
        answer_prefix: What the model is made to have said already before the target, such as ``"Sentiment:"``.
        chat: Whether to use the tokenizer's chat template; None uses it when there is one. Of several, the name of
            one.
        arguments: Further arguments of the chat template, such as ``{"enable_thinking": False}`` or
            ``{"date_string": "26 Jul 2024"}``.
    """

    user: str = HERE
    system: str | None = None
    answer_prefix: str = ""
    chat: bool | str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.user.count(HERE) != 1:
            raise ValueError(f"The template must hold {HERE} exactly once, but is {self.user!r}.")
        if not isinstance(self.arguments, Mapping) or not all(isinstance(name, str) for name in self.arguments):
            raise ValueError(
                f"The template's arguments must be a mapping of names, such as {{'enable_thinking': False}}, but are "
                f"{self.arguments!r:.60}."
            )
        if taken := sorted(_OWN_ARGUMENTS & set(self.arguments)):
            raise ValueError(
                f"The template's arguments name {', '.join(taken)}, which interact sets itself; leave them out."
            )

    def content(self) -> dict[str, Any]:
        """Return the template as JSON values, of which keys and fingerprints are made."""
        content = asdict(self)
        if not content["arguments"]:
            # Keys from before a template had arguments stay what they were.
            del content["arguments"]
        return content


@dataclass(frozen=True)
class Rendered:
    """A prompt in characters.

    Attributes:
        prompt: The whole prompt.
        start: Where the user's text begins in it.
        content: (start, end) of what a user wrote: the message in a chat, else the text.
        chat: Whether a chat template was used, which writes the special tokens itself.
        notes: What is to be told.
        others: The same as `content` of other messages, in the order of the prompt.
    """

    prompt: str
    start: int
    content: tuple[int, int]
    chat: bool
    notes: tuple[str, ...] = ()
    others: tuple[tuple[int, int], ...] = ()

    def followed_by(self, answer: str) -> Rendered:
        """Return the prompt with an answer behind it."""
        return replace(self, prompt=self.prompt + answer)

    def record(self) -> dict[str, Any]:
        """Return what a store keeps of the prompt of a text."""
        return {name: getattr(self, name) for name in ("prompt", "start", "content", "chat")}


def render(tokenizer: Any, text: str, template: Template) -> Rendered:
    """Write the prompt of a text.

    Raises:
        ValueError: There is no such chat template, it fails on these messages, or more than the text depends on it.
    """
    chats = getattr(tokenizer, "chat_template", None)
    chat = template.chat if template.chat is not None else bool(chats)
    before, after = template.user.split(HERE)
    if not chat:
        if template.system is not None:
            raise ValueError(
                "A system message needs a chat template, and none is used here; write it into the template's user "
                "message."
            )
        start, end = len(before), len(before) + len(text)
        return Rendered(before + text + after + template.answer_prefix, start, (start, end), False)
    write = writer(tokenizer, template, lambda content: (_around(template, content), {}))
    prompt, low, shown = found(write, text, before, after)
    # In front of the place, where the text's leading white space was taken away.
    lead = 0 if shown[:1].isspace() else len(text) - len(text.lstrip())
    start, high = low - lead, low + len(shown)
    # Around the text the message goes on; its outer white space may be gone.
    low -= next((len(b) for b in (before, before.lstrip()) if prompt[:low].endswith(b)), 0)
    high += next((len(a) for a in (after, after.rstrip()) if prompt[high:].startswith(a)), 0)
    notes = unknown_arguments(tokenizer, template)
    if template.system is not None and template.system.strip() not in prompt:
        notes += (
            "The chat template does not write the system message as it stands, so the model sees another one or none; "
            "write it into the user's message.",
        )
    return Rendered(prompt + template.answer_prefix, start, (low, high), True, notes)


def open_thought(rendered: Rendered) -> str | None:
    """Return the sign behind which a prompt ends inside a thought, or None."""
    tail = rendered.prompt[rendered.content[1] :]
    opened = [*_OPENS.finditer(tail)]
    closed = [*_CLOSES.finditer(tail)]
    if not opened or (closed and closed[-1].start() > opened[-1].start()):
        return None
    return opened[-1][0]


def prints_the_time(tokenizer: Any) -> bool:
    """Say whether a tokenizer's chat template asks for the time, so that a prompt is another one later."""
    return "strftime_now" in str(getattr(tokenizer, "chat_template", None) or "")


def writer(
    tokenizer: Any, template: Template, asked: Callable[[str], tuple[list[dict[str, Any]], dict[str, Any]]]
) -> Callable[[str], str]:
    """Return the chat template as a function of the words in one place.

    Args:
        tokenizer: The tokenizer.
        template: Which chat template, and what other arguments it gets.
        asked: From the words to the messages that hold them, and to arguments that do.

    Raises:
        ValueError: There is no such chat template, or it cannot hold these messages.
    """
    name = _chosen(getattr(tokenizer, "chat_template", None), template.chat)

    def written(content: str, *, parts: bool) -> str:
        messages, arguments = asked(content)
        if parts:
            messages = [
                {**m, "content": [{"type": "text", "text": m["content"]}]} if m.get("content") is not None else m
                for m in messages
            ]
        chosen = {} if name is None else {"chat_template": name}
        told = {**template.arguments, **arguments}
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **chosen, **told)

    # Some templates need a message as a list of parts: they lose a text, or fail on it.
    failure: Exception | None = None
    for parts in (False, True):
        try:
            if _MARKS[0] in written(_MARKS[0], parts=parts):
                return lambda content, parts=parts: written(content, parts=parts)
        except Exception as error:
            # A template is a program of a stranger, which raises whatever it likes.
            failure = failure or error
    if failure is not None:
        told = f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
        system = "" if template.system is None else ", or no system message"
        raise ValueError(
            f"The tokenizer's chat template cannot hold these messages, as text or as a list of parts ({told:.300}); "
            f"use Template(chat=False){system}."
        ) from failure
    return lambda content: written(content, parts=False)


def _around(template: Template, content: str) -> list[dict[str, Any]]:
    """Return the messages of a text: the user's, and the system message where the template has one."""
    user = {"role": "user", "content": content}
    return [user] if template.system is None else [{"role": "system", "content": template.system}, user]


def _chosen(chats: Any, chat: bool | str | None) -> str | None:
    """Return the name of the chat template to use, None for the only one or the default."""
    if not chats:
        raise ValueError("The template needs a chat template, but the tokenizer has none; use Template(chat=False).")
    names = sorted(chats) if isinstance(chats, dict) else []
    if isinstance(chat, str):
        if chat not in names:
            has = f"the templates {names}" if names else "one template without a name, so pass chat=True"
            raise ValueError(f"Template(chat={chat!r}) names no chat template of this tokenizer; it has {has}.")
        return chat
    if names and "default" not in names:
        raise ValueError(
            f"The tokenizer has several chat templates, {names}, and none of them is its default; choose one by name: "
            f"Template(chat={names[0]!r})."
        )
    return None


def found(write: Callable[[str], str], text: str, before: str = "", after: str = "") -> tuple[str, int, str]:
    """Return the prompt, where the text stands in it, and what of it; nothing else in it depends on the text."""
    shown = dict.fromkeys((text, text.strip(), text.lstrip(), text.rstrip()))
    noisy, prompt, pieces = False, "", [[""]]
    for _ in range(_TRIES):
        prompt, others = write(before + text + after), [write(before + mark + after) for mark in _MARKS]
        pieces = [other.split(mark) for other, mark in zip(others, _MARKS, strict=True)]
        for here in shown:
            if all(len(p) == 2 and here.join(p) == prompt for p in pieces):
                return prompt, len(pieces[0][0]), here
        noisy = noisy or write(before + text + after) != prompt
    if noisy:
        # A clock ran on between two renderings; it writes digits.
        for here in shown:
            if all(len(p) == 2 and _without_digits(here.join(p)) == _without_digits(prompt) for p in pieces):
                return here.join(pieces[0]), len(pieces[0][0]), here
        raise ValueError(
            "The chat template writes a different prompt each time, and not only a different clock time; use "
            "Template(chat=False) and write the whole prompt yourself."
        )
    if any(len(p) > 2 for p in pieces):
        raise ValueError(
            f"The chat template writes the user's text {max(map(len, pieces)) - 1} times, so a word that is absent "
            "would still be in the other copy; use Template(chat=False) and write the whole prompt yourself."
        )
    if all(len(p) == 2 and any(prompt.startswith(p[0] + here) for here in shown) for p in pieces):
        raise ValueError(
            "The chat template writes more that depends on the user's text than the text itself (a copy in other "
            "letters, a part, a number), and that would stay when its words are absent; use Template(chat=False) and "
            "write the whole prompt yourself."
        )
    raise ValueError(
        "The chat template changes the user's text, so its characters cannot be found in the prompt; "
        "use Template(chat=False) and write the whole prompt yourself."
    )


def _without_digits(prompt: str) -> str:
    return _DIGITS.sub("0", prompt)


def unknown_arguments(tokenizer: Any, template: Template) -> tuple[str, ...]:
    """Say which arguments the chat template never reads."""
    known = str(tokenizer.chat_template)
    unknown = [name for name in template.arguments if name not in known]
    if not unknown:
        return ()
    return (f"The chat template does not use {', '.join(unknown)}, so the prompt is the same without it.",)
