//! Judging five fields of a JSON body, against serde_json that skips the same bytes.
//!
//! DESIGN 10 allows 1.5 times as long. Each size prints `ignored` (the baseline) and `judged`: read the ratio
//! of the two. `closed` has an `only` list beside the fields.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use portcullis::policy::json::Pointer;
use portcullis::policy::{BodyFields, Projection};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    body(&mut criterion);
    criterion.final_summary();
}

fn body(c: &mut Criterion) {
    for size in [1_000, 10_000, 100_000] {
        for shape in [chat(size), order(size)] {
            measure(c, &shape, false);
            measure(c, &shape, true);
        }
    }
    for shape in [chat_in_chinese(10_000), code(10_000)] {
        measure(c, &shape, false);
    }
}

/// A document and what is judged of it.
struct Shape {
    name: &'static str,
    document: Value,
    fields: [&'static str; 5],
    only: &'static [&'static str],
}

fn measure(c: &mut Criterion, shape: &Shape, pretty: bool) {
    let text = if pretty {
        serde_json::to_vec_pretty(&shape.document)
    } else {
        serde_json::to_vec(&shape.document)
    };
    let Ok(bytes) = text else { return };
    let pointer = |text: &&str| Pointer::parse(text);
    let fields: Vec<_> = shape.fields.iter().filter_map(pointer).zip(0..).collect();
    let listed = shape.only.iter().filter_map(pointer).collect();
    let judged = Projection::new(&fields, &[]);
    let closed = Projection::new(&fields, &[(0, listed)]);
    let layout = if pretty { "indented" } else { "compact" };

    let mut group = c.benchmark_group(format!("{}/{layout}/{} bytes", shape.name, bytes.len()));
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("ignored", |b| {
        b.iter(|| serde_json::from_slice::<IgnoredAny>(black_box(&bytes)).is_ok());
    });
    group.bench_function("judged", |b| {
        b.iter(|| BodyFields::json(black_box(&bytes), &judged, 128).is_ok());
    });
    group.bench_function("closed", |b| {
        b.iter(|| BodyFields::json(black_box(&bytes), &closed, 128).is_ok());
    });
    group.finish();
}

const CHAT_FIELDS: [&str; 5] = [
    "/model",
    "/max_tokens",
    "/temperature",
    "/stream",
    "/messages/0/role",
];
const CHAT_KEYS: &[&str] = &[
    "/model",
    "/max_tokens",
    "/temperature",
    "/stream",
    "/user",
    "/messages",
    "/tools",
];

fn chat_of(name: &'static str, size: usize, turns: &[&str]) -> Shape {
    let mut messages = vec![json!({
        "role": "system",
        "content": "You are a support agent of Acme. Answer from the ticket; never guess an account number.",
    })];
    let mut length = 500;
    for (turn, role) in turns
        .iter()
        .cycle()
        .zip(["user", "assistant"].iter().cycle())
    {
        if length >= size {
            break;
        }
        length += turn.len() + 40;
        messages.push(json!({"role": role, "content": turn}));
    }
    let tools = json!([{"type": "function", "function": {
        "name": "lookup_account",
        "description": "Looks up one account",
        "parameters": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
    }}]);
    Shape {
        name,
        document: json!({
            "model": "gpt-4o-mini", "max_tokens": 512, "temperature": 0.2, "stream": true,
            "user": "agent-7", "messages": messages, "tools": tools,
        }),
        fields: CHAT_FIELDS,
        only: CHAT_KEYS,
    }
}

fn chat(size: usize) -> Shape {
    let turns = [
        "Hello, my invoice from March shows a charge that I don't recognise.\nCould you look into it? It says \"service fee\", and the amount is 14.90 €.",
        "I have looked at the invoice. The fee belongs to the premium plan that was booked on March 3rd, and it is charged once per quarter. You can cancel it until the end of the month; shall I do that?",
        "Yes, please.",
        "Done. You will get a confirmation by mail within the hour.\n\n- plan: basic\n- next invoice: 1 April\n- amount: 0.00 €\n\nIs there anything else that I can do for you today?",
    ];
    chat_of("chat", size, &turns)
}

/// Nothing but letters outside ASCII: the check of UTF-8, which serde_json leaves out here, weighs most.
fn chat_in_chinese(size: usize) -> Shape {
    chat_of(
        "chinese",
        size,
        &["你好，我三月份的发票上有一笔我不认识的费用。你能帮我查一下吗？上面写的是服务费。"],
    )
}

/// Code has a line end or a quote to escape every few words.
fn code(size: usize) -> Shape {
    let source = "fn main() {\n\tlet name = \"world\";\n\tprintln!(\"Hello, {name}!\");\n}\n";
    chat_of("code", size, &[source])
}

fn order(size: usize) -> Shape {
    let item = json!({
        "sku": "AC-10045-B", "name": "Desk lamp, brass", "quantity": 2, "price": {"amount": 4990, "currency": "EUR"},
        "taxable": true, "discount": null, "tags": ["lamp", "brass", "office"], "weight_kg": 1.25,
        "created_at": "2026-03-01T09:14:00Z", "warehouse_id": 7,
    });
    Shape {
        name: "order",
        document: json!({
            "id": 981_234_001, "currency": "EUR", "total": 29940, "test": false,
            "customer": {"id": "c-77121", "email": "ann@example.com", "vat_id": null},
            "shipping": {"country": "DE", "city": "Berlin", "street": "Invalidenstr. 1", "zip": "10115"},
            "items": vec![item; (size / 270).max(2)],
        }),
        fields: [
            "/customer/id",
            "/currency",
            "/total",
            "/shipping/country",
            "/items/0/sku",
        ],
        only: &[
            "/id",
            "/currency",
            "/total",
            "/test",
            "/customer",
            "/shipping",
            "/items",
        ],
    }
}
