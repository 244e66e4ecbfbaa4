"""Names of people, employers and courses, from many scripts; what a person is called says nothing of their address."""

# Country, given names, family names. Each script of the world's larger systems of writing, and names that break parsers.
_PEOPLE = """
DE|Björn Jürgen Zoë Käthe Søren|Müller Groß Weiß-Schröder Østergård Åkesson
FR|Chloé Éloïse Jean-Luc François Maëlle|D'Angelo L'Hôpital Lefèvre Saint-Exupéry Çelik
IE|Siobhán Aoife Pádraig Niamh Sean|O'Neil O'Brien Mac-Giolla Ó-Súilleabháin FitzGerald
PL|Łukasz Żaneta Małgorzata Paweł Święto|Wąsowski Zieliński Łęcki Dąbrowska Nowak-Żak
VN|Nguyễn Thảo Đặng Hương Phượng|Trần Lê Phạm Huỳnh Đỗ
TR|Elif İpek Gökçe Şule Ağca|Yılmaz Şahin Öztürk Çağlar İnönü
RU|Дмитрий Анна Ольга Пётр Юлия|Иванов Щербакова Ёлкин Петров-Водкин Чайковская
GR|Ελένη Γιώργος Αθηνά Νίκος Σοφία|Παπαδόπουλος Οικονόμου Βασιλείου Γεωργίου Χρήστου
EG|محمد فاطمة يوسف ليلى عمر|الحسن القاسم إبراهيم الشريف منصور
IL|נועה יוסף תמר דוד רחל|כהן לוי מזרחי בן-דוד פרץ
CN|伟 芳 秀英 敏 静|王 李 欧阳 司马 张
JP|さくら ヒロシ 太郎 ゆき ケンジ|佐藤 スズキ たかはし 田中 ワタナベ
KR|민준 서연 지훈 하은 도윤|김 이 박 남궁 최
IN|प्रिया अर्जुन राहुल अंजलि विकास|शर्मा वर्मा गुप्ता पटेल सिंह
TH|สมชาย กานดา ณัฐ พิมพ์ วิชัย|ใจดี สุขสันต์ ทองดี ศรีสุข วงศ์ไทย
US|Ana Grace Hugo Farah Ines|Smith Garcia Lee Van-der-Berg Null
"""
PEOPLE = [
    (country, givens.split(), families.split())
    for country, givens, families in (line.split("|") for line in _PEOPLE.strip().splitlines())
]
ORGANIZATIONS = [
    ("Acme GmbH & Co. KG", "acme.test"),
    ("Globex", "globex.test"),
    ("Initech, Inc.", "initech.test"),
    ("Umbrella « SA »", "umbrella.test"),
    ("株式会社サンプル", "sample.test"),
    ("ООО Ромашка", "romashka.test"),
    ("Ærø Færger A/S", "aero.test"),
    ('"Quoted" Ltd', "quoted.test"),
]
# What a spreadsheet would take for a formula; good names all the same.
FORMULA_FAMILIES = ["=cmd|' /C calc'!A0", "+SUM(1;2)", "@risk", "-2+3"]
LONG_GIVEN = "Maria-del-Pilar-Inmaculada-Concepción-Ana"[:40]
LONG_FAMILY = "Wolfeschlegelsteinhausenbergerdorff-de-la-Santísima-Trinidad-y-Ruiz-y-Picasso-Xx"[:80]
HANDLES = ["ana", "bjorn", "chloe", "dmitri", "elif", "farah", "grace", "hugo"]
TOPICS = ["Getting started", "API & integrations", "Security <essentials>", "Données & modèles", "管理者認定", "Отчёты"]
LEVELS = ["basics", "deep dive", "certification"]
FRAMEWORK = "Customer education"
