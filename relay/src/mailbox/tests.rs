//! Stories of mailboxes, with the time and the addresses in the story's hands.

use std::net::Ipv4Addr;

use sync_types::limits::{MAILBOX_MESSAGE_LEN_MAX, MAILBOX_MESSAGES_MAX};

use super::*;

const CREATOR: Token = Token::from_bytes([1; 16]);
const JOINER: Token = Token::from_bytes([2; 16]);
const STRANGER: Token = Token::from_bytes([3; 16]);

struct Story {
    mailboxes: Mailboxes,
    now: Instant,
}

impl Story {
    fn new() -> Self {
        Self { mailboxes: Mailboxes::new(&Limits::default()), now: Instant::now() }
    }

    fn opened() -> Self {
        let story = Self::new();
        story.create(1, 1, &CREATOR).expect("free");
        story
    }

    fn create(&self, from: u8, n: u8, token: &Token) -> Result<u32, ErrorCode> {
        let created = self.mailboxes.create(address(from), name(n), token, Bytes::from_static(b"m0"), self.now);
        created.map_err(|refusal| refusal.code)
    }

    fn claim(&self, from: u8, n: u8, token: &Token) -> Result<Bytes, ErrorCode> {
        let claimed = self.mailboxes.claim(address(from), name(n), token, self.now);
        claimed.map(|taken| taken.message).map_err(|refusal| refusal.code)
    }

    fn post(&self, token: &Token, index: u8, message: &'static [u8]) -> Result<(), ErrorCode> {
        let posted = self.mailboxes.post(address(9), name(1), token, index, Bytes::from_static(message), self.now);
        posted.map_err(|refusal| refusal.code)
    }

    async fn wait(&self, token: &Token, first: u8, wait: Duration) -> Result<Vec<Bytes>, ErrorCode> {
        self.mailboxes.wait(address(9), name(1), token, first, wait).await.map_err(|refusal| refusal.code)
    }
}

fn name(n: u8) -> MailboxName {
    MailboxName::from_random([n; 5])
}

fn address(n: u8) -> Address {
    std::net::IpAddr::from(Ipv4Addr::new(192, 0, 2, n)).into()
}

#[test]
fn a_name_is_taken_once_and_a_repeated_request_is_recognised() {
    let story = Story::opened();
    assert_eq!(story.create(2, 1, &STRANGER), Err(ErrorCode::InviteNameTaken));
    assert_eq!(story.create(1, 1, &CREATOR), Ok(600));
    assert_eq!(story.mailboxes.count(), 1);
}

#[test]
fn the_first_joiner_has_it_and_no_other() {
    let story = Story::opened();
    assert_eq!(story.claim(2, 1, &JOINER).as_deref(), Ok(b"m0".as_slice()));
    assert_eq!(story.claim(2, 1, &JOINER).as_deref(), Ok(b"m0".as_slice()), "asked again");
    assert_eq!(story.claim(3, 1, &STRANGER), Err(ErrorCode::InviteClaimed));
}

#[test]
fn the_two_take_turns() {
    let story = Story::opened();
    assert_eq!(story.post(&JOINER, 1, b"m1"), Err(ErrorCode::InviteNotFound), "has not claimed yet");
    story.claim(2, 1, &JOINER).expect("there");
    assert_eq!(story.post(&CREATOR, 1, b"m1"), Err(ErrorCode::InviteConflict), "the joiner's turn");
    assert_eq!(story.post(&JOINER, 2, b"m2"), Err(ErrorCode::InviteConflict), "not the next");
    assert_eq!(story.post(&JOINER, 1, b"m1"), Ok(()));
    assert_eq!(story.post(&JOINER, 1, b"m1"), Ok(()), "asked again");
    assert_eq!(story.post(&JOINER, 1, b"mX"), Err(ErrorCode::InviteConflict));
    assert_eq!(story.post(&CREATOR, 1, b"m1"), Err(ErrorCode::InviteConflict), "not the creator's");
    assert_eq!(story.post(&CREATOR, 2, b"m2"), Ok(()));
    assert_eq!(story.post(&STRANGER, 3, b"m3"), Err(ErrorCode::InviteNotFound));
}

#[test]
fn a_mailbox_is_bounded() {
    const LARGEST: &[u8] = &[0; MAILBOX_MESSAGE_LEN_MAX];
    const LARGER: &[u8] = &[0; MAILBOX_MESSAGE_LEN_MAX + 1];
    let story = Story::opened();
    story.claim(2, 1, &JOINER).expect("there");
    assert_eq!(story.post(&JOINER, 1, LARGER), Err(ErrorCode::InviteConflict));
    for index in 1..u8::try_from(MAILBOX_MESSAGES_MAX).expect("few") {
        let token = if index % 2 == 0 { &CREATOR } else { &JOINER };
        assert_eq!(story.post(token, index, LARGEST), Ok(()));
    }
    assert_eq!(story.post(&CREATOR, 16, b"m16"), Err(ErrorCode::InviteConflict));
}

#[test]
fn mailboxes_together_are_bounded() {
    let limits = Limits { invites_per_minute: 1_000_000, ..Limits::default() };
    let (mailboxes, now) = (Mailboxes::new(&limits), Instant::now());
    let message = Bytes::from(vec![0; MAILBOX_MESSAGE_LEN_MAX]);
    let refused = (0..u32::MAX).find_map(|n| {
        let [a, b, c, d] = n.to_be_bytes();
        let name = MailboxName::from_random([0, a, b, c, d]);
        mailboxes.create(address(1), name, &CREATOR, message.clone(), now).err()
    });
    assert_eq!(refused.map(|refusal| refusal.code), Some(ErrorCode::TooManyInvites));
    assert_eq!(mailboxes.count(), BYTES_MAX / MAILBOX_MESSAGE_LEN_MAX);
    mailboxes.purge(now + INVITE_TTL);
    assert_eq!((mailboxes.count(), mailboxes.lock().bytes), (0, 0));
}

#[test]
fn it_is_gone_after_ten_minutes() {
    let mut story = Story::opened();
    story.now += INVITE_TTL - Duration::from_secs(1);
    assert!(story.claim(2, 1, &JOINER).is_ok());
    story.now += Duration::from_secs(1);
    assert_eq!(story.claim(2, 1, &JOINER), Err(ErrorCode::InviteNotFound));
    assert_eq!(story.mailboxes.lock().bytes, 0);
}

#[test]
fn a_burnt_one_is_gone_at_once() {
    let story = Story::opened();
    let burn = |token: &Token| story.mailboxes.burn(address(9), name(1), token, story.now);
    assert_eq!(burn(&STRANGER).map_err(|refusal| refusal.code), Err(ErrorCode::InviteNotFound));
    assert_eq!(burn(&CREATOR), Ok(()));
    assert_eq!(story.claim(2, 1, &JOINER), Err(ErrorCode::InviteNotFound));
}

#[test]
fn guessing_is_limited_for_an_address() {
    let mut story = Story::opened();
    for n in 50..53 {
        assert_eq!(story.claim(2, n, &JOINER), Err(ErrorCode::InviteNotFound));
    }
    assert_eq!(story.claim(2, 1, &JOINER), Err(ErrorCode::RateLimited), "though it would have been right");
    assert_eq!(story.post(&STRANGER, 1, b"m1"), Err(ErrorCode::InviteNotFound), "another address");
    assert!(story.claim(3, 1, &JOINER).is_ok());
    story.now += Duration::from_secs(20);
    assert!(story.claim(2, 1, &JOINER).is_ok(), "one every twenty seconds");
}

#[test]
fn guesses_are_not_held_against_those_who_take_part() {
    let story = Story::opened();
    story.claim(9, 1, &JOINER).expect("there");
    for n in 50..53 {
        assert_eq!(story.claim(9, n, &STRANGER), Err(ErrorCode::InviteNotFound));
    }
    assert_eq!(story.claim(9, 1, &STRANGER), Err(ErrorCode::RateLimited));
    assert_eq!(story.post(&STRANGER, 1, b"m1"), Err(ErrorCode::RateLimited));
    assert!(story.claim(9, 1, &JOINER).is_ok());
    assert_eq!(story.post(&JOINER, 1, b"m1"), Ok(()));
    assert_eq!(story.post(&CREATOR, 2, b"m2"), Ok(()));
}

#[test]
fn creations_and_claims_are_limited_for_an_address() {
    let story = Story::new();
    for n in 0..5 {
        story.create(1, n, &CREATOR).expect("five a minute");
    }
    assert_eq!(story.create(1, 5, &CREATOR), Err(ErrorCode::RateLimited));
    story.create(2, 5, &CREATOR).expect("another address");
    for _ in 0..10 {
        story.claim(3, 0, &JOINER).expect("ten a minute");
    }
    assert_eq!(story.claim(3, 0, &JOINER), Err(ErrorCode::RateLimited));
}

#[tokio::test]
async fn waiting_ends_with_the_message_with_the_time_or_with_the_mailbox() {
    let story = Story::opened();
    story.claim(2, 1, &JOINER).expect("there");
    assert_eq!(story.wait(&JOINER, 0, Duration::ZERO).await, Ok(vec![Bytes::from_static(b"m0")]));
    assert_eq!(story.wait(&CREATOR, 1, Duration::from_millis(20)).await, Ok(Vec::new()));
    assert_eq!(story.wait(&STRANGER, 0, Duration::ZERO).await, Err(ErrorCode::InviteNotFound));

    let post = async {
        tokio::task::yield_now().await;
        story.post(&JOINER, 1, b"m1").expect("the joiner's turn");
    };
    let (heard, ()) = tokio::join!(story.wait(&CREATOR, 1, MAILBOX_WAIT_MAX), post);
    assert_eq!(heard, Ok(vec![Bytes::from_static(b"m1")]));

    let burn = async {
        tokio::task::yield_now().await;
        story.mailboxes.burn(address(9), name(1), &JOINER, story.now).expect("there");
    };
    let (heard, ()) = tokio::join!(story.wait(&CREATOR, 2, MAILBOX_WAIT_MAX), burn);
    assert_eq!(heard, Err(ErrorCode::InviteNotFound));
}

#[tokio::test]
async fn so_many_wait_on_one_mailbox_and_no_more() {
    let story = Story::opened();
    let waits = (0..WAITING_MAX).map(|_| story.wait(&CREATOR, 1, Duration::from_millis(100)));
    let mut waits: Vec<_> = waits.map(Box::pin).collect();
    for wait in &mut waits {
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(wait.as_mut().poll(cx).is_pending())).await);
    }
    assert_eq!(story.wait(&CREATOR, 1, Duration::from_millis(100)).await, Err(ErrorCode::RateLimited));
    for wait in waits {
        assert_eq!(wait.await, Ok(Vec::new()));
    }
}
