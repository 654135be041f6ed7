//! A radix tree from byte prefixes to postings: every stored prefix of a value is found in one walk.

/// A compressed trie. `P` is what is filed under a prefix.
#[derive(Clone, Debug)]
pub(super) struct Radix<P> {
    label: Box<[u8]>,
    filed: Vec<P>,
    /// Sorted by the first byte of their labels, which differ.
    children: Vec<Radix<P>>,
}

impl<P> Default for Radix<P> {
    fn default() -> Self {
        Self {
            label: Box::default(),
            filed: Vec::new(),
            children: Vec::new(),
        }
    }
}

impl<P> Radix<P> {
    /// Files an item under a prefix.
    pub(super) fn insert(&mut self, prefix: &[u8], item: P) {
        let Some((first, _)) = prefix.split_first() else {
            self.filed.push(item);
            return;
        };
        match self
            .children
            .binary_search_by_key(&Some(*first), |child| child.label.first().copied())
        {
            Err(at) => self.children.insert(
                at,
                Radix {
                    label: prefix.into(),
                    filed: vec![item],
                    children: Vec::new(),
                },
            ),
            Ok(at) => {
                let Some(child) = self.children.get_mut(at) else {
                    return;
                };
                let common = child
                    .label
                    .iter()
                    .zip(prefix)
                    .take_while(|(a, b)| a == b)
                    .count();
                if common < child.label.len() {
                    child.split(common);
                }
                child.insert(prefix.get(common..).unwrap_or_default(), item);
            }
        }
    }

    /// Visits what is filed under every prefix of the value's bytes, shortest first.
    pub(super) fn each_prefix_of(
        &self,
        value: impl Iterator<Item = u8> + Clone,
        visit: &mut impl FnMut(&P),
    ) {
        let (mut node, mut rest) = (self, value);
        loop {
            node.filed.iter().for_each(&mut *visit);
            let Some(first) = rest.clone().next() else {
                return;
            };
            let Ok(at) = node
                .children
                .binary_search_by_key(&Some(first), |child| child.label.first().copied())
            else {
                return;
            };
            let Some(child) = node.children.get(at) else {
                return;
            };
            if !child.label.iter().all(|byte| rest.next() == Some(*byte)) {
                return;
            }
            node = child;
        }
    }

    /// A posting longer than `most`, if there is one.
    pub(super) fn over(&self, most: usize) -> Option<&[P]> {
        if self.filed.len() > most {
            return Some(&self.filed);
        }
        self.children.iter().find_map(|child| child.over(most))
    }

    fn split(&mut self, at: usize) {
        let (head, tail) = self
            .label
            .split_at_checked(at)
            .unwrap_or((&self.label, &[]));
        let (head, tail): (Box<[u8]>, Box<[u8]>) = (head.into(), tail.into());
        let below = Radix {
            label: tail,
            filed: std::mem::take(&mut self.filed),
            children: std::mem::take(&mut self.children),
        };
        self.label = head;
        self.children.push(below);
    }
}

#[cfg(test)]
mod tests {
    use super::Radix;

    #[test]
    fn every_stored_prefix_is_found() {
        let stored = ["a", "ab", "abc", "abd", "b", "", "abcde", "ab"];
        let mut radix = Radix::default();
        for (n, prefix) in stored.iter().enumerate() {
            radix.insert(prefix.as_bytes(), n);
        }
        for value in ["", "a", "ab", "abcd", "abcdef", "abd", "b", "c", "ba"] {
            let mut found = Vec::new();
            radix.each_prefix_of(value.bytes(), &mut |n| found.push(*n));
            found.sort_unstable();
            let want: Vec<usize> = (0..stored.len())
                .filter(|n| value.starts_with(stored[*n]))
                .collect();
            assert_eq!(found, want, "{value}");
        }
        assert_eq!(radix.over(1), Some(&[1, 7][..]));
        assert_eq!(radix.over(2), None);
    }
}
