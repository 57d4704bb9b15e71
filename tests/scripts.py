"""Text of ten scripts, and hypothesis strategies that hold every category of Unicode."""

import unicodedata

import regex
from hypothesis import strategies as st

CATEGORIES = (
    *("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"),
    *("Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cn"),
)
"""All but surrogates (Cs), which no UTF-8 file holds."""

characters = st.sampled_from(CATEGORIES).flatmap(lambda one: st.characters(categories=[one]))
"""Each category as often as every other, however many characters it has."""
texts = st.text(characters, max_size=20).filter(
    lambda text: not any(regex.match(r"\p{Cn}", one) is None and unicodedata.category(one) == "Cn" for one in text)
)
"""Without characters that `regex` knows and Python's table, which is older, does not."""

LANGUAGES = {
    **{"latin": "de", "cyrillic": "ru", "greek": "el", "arabic": "ar", "hebrew": "he", "devanagari": "hi"},
    **{"thai": "th", "han": "zh", "kana": "ja", "hangul": "ko"},
}
_TEXT = {
    "latin": "der Hund läuft schnell über die große Straße heute abend und morgen früh wieder zurück",
    "cyrillic": "собака быстро бежит через большую улицу сегодня вечером ещё завтра утром снова обратно",
    "greek": "ο σκύλος τρέχει γρήγορα στον μεγάλο δρόμο σήμερα το βράδυ και αύριο πρωί ξανά πίσω",
    "arabic": "الكَلْبُ يَجْرِي بسرعة في الشارع الكبير اليوم مساءً وغداً صباحاً مرة أخرى إلى الخلف",
    "hebrew": "הַכֶּלֶב רץ מהר ברחוב הגדול היום בערב ומחר בבוקר שוב בחזרה אל הבית שלי",
    "devanagari": "कुत्ता काल कल किला केला कुल तेज़ दौड़ता है बड़ी सड़क आज शाम फिर वापस",
    "thai": "สุนัข วิ่ง เร็ว บน ถนน ใหญ่ วันนี้ เย็น และ พรุ่งนี้ เช้า อีก ครั้ง กลับ บ้าน",
    "han": "狗 今天 晚上 在 大 街 上 跑得 很快 明天 早晨 又 回来 了 吗",
    "kana": "いぬ は きょう の よる おおきな みち を はやく はしり ます ラーメン が すき です",
    "hangul": "개가 오늘 저녁 큰 길을 빨리 달리고 내일 아침 다시 집으로 돌아옵니다 정말 좋은 날",
}
WORDS = {script: text.split() for script, text in _TEXT.items()}
"""Script -> different words of its language."""

UNSPACED = ("thai", "han", "kana")
MARKS = {"th": "!", "zh": "。", "ja": "。", "ar": "؟", "hi": "।", "el": ";"}
"""What ends a sentence; elsewhere a full stop."""


def sentence(script: str, numbers: list[int]) -> str:
    """The words of these numbers as the script writes them."""
    words = WORDS[script]
    blank = "" if script in UNSPACED else " "
    return blank.join(words[number % len(words)] for number in numbers) + MARKS.get(LANGUAGES[script], ".")
