"""Our Transformers run by CTranslate2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import ctranslate2

from seqdistill.decoding.engine import RULES, EngineTraits, decode_texts
from seqdistill.decoding.given import NOTHING, Given
from seqdistill.errors import UserError
from seqdistill.files import sha256_file
from seqdistill.hypothesis import EMPTY, Hypothesis, longest_first
from seqdistill.machine import threads_kept
from seqdistill.models.family import refuse_foreign
from seqdistill.models.traits import Traits
from seqdistill.native.search import check_lengths, length_limit
from seqdistill.options import DecodingOptions
from seqdistill.options.decoding import NO_SAMPLES
from seqdistill.runtime.conversion import MAX_POSITIONS, pieces
from seqdistill.runtime.converted import VMAP, Converted
from seqdistill.threads import usable_cores
from seqdistill.vocabulary.vocabularies import Vocabularies

CALL_LINES = 4096
"""Lines handed to CTranslate2 in one call; a call has one length limit, so its lines are of similar length."""

IMPOSSIBLE = -1e8
"""Log-probabilities below it are none."""


class CTranslate2Engine:
    """A Transformer of ours, converted and run by CTranslate2 on the CPU.

    It follows the torch engine's rules, and in float32 its greedy output is the same token for token. Beam search
    differs in two details: a sentence stops only by rules 1 and 3 of `decoding.beam`; right after a forced prefix it
    ends only if nothing is more probable there.
    """

    def __init__(
        self,
        folder: Path,
        tokenizers: Vocabularies,
        *,
        model: str = "",
        compute_type: str = "auto",
        workers: int = 0,
        threads: int = 1,
        max_tokens: int = 2048,
        vmap: bool = False,
    ):
        """Opens a converted model.

        Args:
            folder: what `conversion.convert` wrote, as `open_converted` checks it.
            tokenizers: those it was trained with.
            model: its fingerprint.
            compute_type: "auto" (the fastest whose outputs hardly differ: int8), or one of CTranslate2's.
            workers: batches decoded side by side; 0: one for each core.
            threads: threads of each worker.
            max_tokens: source tokens in a batch, padding included.
            vmap: whether to write only words that the folder's vmap.txt has for those of a line. Each line is a batch
                then: CTranslate2 takes the union of a batch, and a line's output would depend on the others.

        Raises:
            UserError: the processor lacks the compute type.
        """
        self.compute_type = checked_compute_type(compute_type)
        self.max_tokens, self.vmap = max_tokens, vmap
        self.model = model
        self._shortlist = {"shortlist": sha256_file(folder / VMAP)} if vmap else {}
        self._tokenizers = tokenizers
        with threads_kept():
            self._translator = ctranslate2.Translator(
                str(folder),
                device="cpu",
                compute_type=self.compute_type,
                inter_threads=workers or usable_cores(),
                intra_threads=threads,
                max_queued_batches=-1,
            )
        self._source_pieces = pieces(tokenizers.source)
        self._target_pieces = pieces(tokenizers.target)
        self._target_ids = {piece: token for token, piece in enumerate(self._target_pieces)}
        ids = tokenizers.target.ids
        self._prompt = ids.before_words[1:]
        """What the decoder reads after the first symbol and before the first word: a language code that is forced."""

    @property
    def traits(self) -> EngineTraits:
        return EngineTraits(n_best=True, scores=True, rules=RULES - {"allowed"})

    @property
    def fingerprint(self) -> dict[str, Any]:
        return {
            "engine": f"ctranslate2 {ctranslate2.__version__}",
            "model": self.model,
            "precision": self.compute_type,
            **self._shortlist,
        }

    @property
    def tokenizers(self) -> Vocabularies:
        return self._tokenizers

    decode = decode_texts

    def decode_ids(
        self, sources: Sequence[Sequence[int]], options: DecodingOptions, given: Given = NOTHING
    ) -> list[list[Hypothesis]]:
        """As `DecodesIds.decode_ids`; line numbers are those of messages only, as nothing is sampled.

        CTranslate2 has one length limit a call: the largest of its lines. Lines with a hypothesis that reaches their
        own limit, and so may end beyond it, are decoded again, with the lines of the same limit.

        Raises:
            UserError: sampling, options of non-autoregressive models, allowed pieces, a source of more than 4,095
                tokens.
        """
        refuse_foreign(Traits(experts=True), vars(options))  # an expert was chosen before
        _refuse(options, given)
        reader, way_out = "a model converted to CTranslate2", "split the line, or use --engine torch"
        check_lengths(sources, given.seeds, most=MAX_POSITIONS - 1, reader=reader, way_out=way_out)
        limits = [length_limit(len(words), options) for words in sources]
        rows = longest_first(sources)
        calls = [rows[first : first + CALL_LINES] for first in range(0, len(rows), CALL_LINES)]
        found = self._run(sources, given.prefixes, calls, limits, options)
        again: dict[int, list[int]] = {}
        for call in calls:
            limit = max(limits[row] for row in call)
            for row in call:
                if limits[row] < limit and any(len(each.tokens) >= limits[row] for each in found[row]):
                    again.setdefault(limits[row], []).append(row)
        found |= self._run(sources, given.prefixes, again.values(), limits, options)
        return [found.get(row, [EMPTY]) for row in range(len(sources))]

    def scores(self, sources: Sequence[str], targets: Sequence[str]) -> list[float]:
        """As `ScoringEngine.scores`."""
        read, written = self.tokenizers.source.encode_batch(sources), self.tokenizers.target.encode_batch(targets)
        found = self._translator.score_batch(
            [[self._source_pieces[token] for token in ids] for ids in read],
            [[self._target_pieces[token] for token in (*self._prompt, *ids)] for ids in written],
            max_batch_size=self.max_tokens,
            batch_type="tokens",
        )
        words = [each.log_probs[len(self._prompt) :] for each in found]
        return [sum(log_probs) / len(log_probs) for log_probs in words]

    def _run(
        self,
        sources: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]],
        calls: Iterable[Sequence[int]],
        limits: Sequence[int],
        options: DecodingOptions,
    ) -> dict[int, list[Hypothesis]]:
        """Hypotheses by row; all calls are under way at once."""
        source, target = self._source_pieces.__getitem__, self._target_pieces.__getitem__
        pending = []
        for rows in calls:
            limit = max(limits[row] for row in rows)
            begun = [[*self._prompt, *(prefixes[row][:limit] if any(prefixes) else ())] for row in rows]
            results = self._translator.translate_batch(
                [[source(token) for token in sources[row]] for row in rows],
                target_prefix=[[target(token) for token in tokens] for tokens in begun] if any(begun) else None,
                max_batch_size=1 if self.vmap else self.max_tokens,
                batch_type="tokens",
                asynchronous=True,
                beam_size=options.beam,
                num_hypotheses=options.n_best,
                length_penalty=options.length_penalty,
                no_repeat_ngram_size=options.no_repeat_ngram,
                max_input_length=0,
                min_decoding_length=min(options.min_length, limit) + len(self._prompt),
                max_decoding_length=limit + len(self._prompt),
                suppress_sequences=[[target(token)] for token in self.tokenizers.target.ids.never_written],
                return_end_token=True,
                use_vmap=self.vmap,
                return_scores=True,
            )
            pending.append((rows, results))
        return {
            row: self._hypotheses(result.result(), options)
            for rows, results in pending
            for row, result in zip(rows, results, strict=True)
        }

    def _hypotheses(self, result: ctranslate2.TranslationResult, options: DecodingOptions) -> list[Hypothesis]:
        """CTranslate2's score is ours: the sum of log-probabilities over length ** length_penalty, EOS counted. Its
        length counts a forced language code, ours does not. Beside forced tokens it puts others in the beam, with -1e10
        for a log-probability; they are left out."""
        hypotheses, eos = [], self.tokenizers.target.ids.eos
        for words, score in zip(result.hypotheses, result.scores, strict=True):
            tokens = tuple([self._target_ids[word] for word in words])[len(self._prompt) :]
            log_prob = score * len(words) ** options.length_penalty
            if log_prob < IMPOSSIBLE:
                continue
            if self._prompt:
                score = log_prob / len(tokens) ** options.length_penalty
            hypotheses.append(Hypothesis(tokens[:-1] if tokens[-1:] == (eos,) else tokens, log_prob, score))
        return hypotheses


def converted_engine(found: Converted, *, compute_type: str = "auto", workers: int = 0) -> CTranslate2Engine:
    """Runs a directory that `export --to ctranslate2` wrote, with its shortlist if it has one; as `precision_of`."""
    options = {"compute_type": precision_of(found, compute_type), "workers": workers, "vmap": found.vmap}
    return CTranslate2Engine(found.path, found.tokenizers, model=found.model, **options)


def precision_of(found: Converted, compute_type: str) -> str:
    """The compute type asked for; "auto" is the precision of the weights on disk.

    Raises:
        UserError: the processor lacks it.
    """
    if compute_type != "auto":
        return checked_compute_type(compute_type)
    if found.precision not in (supported := compute_types()):
        raise UserError(
            f"{found.path}: was exported in {found.precision}, which CTranslate2 does not compute on this processor: "
            f"give another compute type ({', '.join(supported)}), or export the model in one"
        )
    return found.precision


def _refuse(options: DecodingOptions, given: Given) -> None:
    """Raises UserError for what CTranslate2 cannot do."""
    if options.sampling:
        raise UserError(NO_SAMPLES)
    if given.allowed:
        raise UserError(
            "CTranslate2 cannot be told which pieces each line may be made of: use --engine torch, or leave the "
            "allowed pieces out"
        )


def compute_types() -> list[str]:
    """Those that CTranslate2 has on this processor."""
    return sorted(ctranslate2.get_supported_compute_types("cpu"))


def checked_compute_type(compute_type: str) -> str:
    """The compute type, or what "auto" stands for; raises UserError where the processor lacks it."""
    supported = compute_types()
    if compute_type == "auto":
        return "int8" if "int8" in supported else "float32"
    if compute_type not in supported:
        raise UserError(
            f"compute type {compute_type!r} is not available on this processor; choose auto or one of "
            f"{', '.join(supported)}"
        )
    return compute_type
